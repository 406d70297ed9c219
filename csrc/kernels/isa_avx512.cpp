#define LAMINA_ISA avx512
#define LAMINA_VEC_BYTES 64
#include "kernels/kernels_impl.h"
