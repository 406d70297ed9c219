#define LAMINA_ISA neon
#define LAMINA_VEC_BYTES 16
#include "kernels/kernels_impl.h"
