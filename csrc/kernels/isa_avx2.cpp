#define LAMINA_ISA avx2
#define LAMINA_VEC_BYTES 32
#include "kernels/kernels_impl.h"
