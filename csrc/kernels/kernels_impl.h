// All kernels, compiled once per instruction set: an isa_*.cpp defines LAMINA_ISA and LAMINA_VEC_BYTES and includes
// this. Everything here has internal linkage but the table, so code for one processor can never be linked into
// another's.
#pragma once
#include "kernels/kernels.h"
//
#include "kernels/batch_norm.h"
#include "kernels/conv2d.h"
#include "kernels/conv_norm.h"
#include "kernels/curves.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/gemm.h"
#include "kernels/group_norm.h"
#include "kernels/local_response.h"
#include "kernels/locally_connected.h"
#include "kernels/memory_blocks.h"
#include "kernels/mse.h"
#include "kernels/optim.h"
#include "kernels/peak.h"
#include "kernels/pool2d.h"
#include "kernels/recurrent.h"
#include "kernels/recurrent_step.h"
#include "kernels/sequence.h"
#include "kernels/softmax.h"
#include "kernels/sparse_code.h"
#include "kernels/upsample.h"

namespace lamina {
namespace {

template <class T>
constexpr Kernels<T> make_kernels() {
  return {
      .gemm = &lamina::gemm<T>,
      .sum_rows = &lamina::sum_rows<T>,
      .conv2d = &lamina::conv2d<T>,
      .conv2d_backward_input = &lamina::conv2d_backward_input<T>,
      .conv2d_backward_weight = &lamina::conv2d_backward_weight<T>,
      .conv2d_norm = &lamina::conv2d_norm<T>,
      .conv2d_moments = &lamina::conv2d_moments<T>,
      .conv2d_norm_backward = &lamina::conv2d_norm_backward<T>,
      .locally_connected2d = &lamina::locally_connected2d<T>,
      .locally_connected2d_backward_input = &lamina::locally_connected2d_backward_input<T>,
      .locally_connected2d_backward_weight = &lamina::locally_connected2d_backward_weight<T>,
      .max_pool2d_u8 = &max_pool2d<T, std::uint8_t>,
      .max_pool2d_i32 = &max_pool2d<T, std::int32_t>,
      .max_pool2d_backward_u8 = &max_pool2d_backward<T, std::uint8_t>,
      .max_pool2d_backward_i32 = &max_pool2d_backward<T, std::int32_t>,
      .max_unpool2d_backward_u8 = &max_unpool2d_backward<T, std::uint8_t>,
      .max_unpool2d_backward_i32 = &max_unpool2d_backward<T, std::int32_t>,
      .avg_pool2d = &lamina::avg_pool2d<T>,
      .avg_pool2d_backward = &lamina::avg_pool2d_backward<T>,
      .lstm_cell = &lamina::lstm_cell<T>,
      .lstm_cell_backward = &lamina::lstm_cell_backward<T>,
      .rnn_cell = &lamina::rnn_cell<T>,
      .rnn_cell_backward = &lamina::rnn_cell_backward<T>,
      .sequence = &lamina::sequence<T>,
      .sequence_backward = &lamina::sequence_backward<T>,
      .embedding = &lamina::embedding<T>,
      .embedding_backward = &lamina::embedding_backward<T>,
      .recurrent_step = &lamina::recurrent_step<T>,
      .memory_blocks = &lamina::memory_blocks<T>,
      .memory_blocks_backward = &lamina::memory_blocks_backward<T>,
      .support = &lamina::support<T>,
      .sparse_linear = &lamina::sparse_linear<T>,
      .sparse_dots = &lamina::sparse_dots<T>,
      .sparse_outer = &lamina::sparse_outer<T>,
      .upsample2d = &lamina::upsample2d<T>,
      .upsample2d_backward = &lamina::upsample2d_backward<T>,
      .column_moments = &lamina::column_moments<T>,
      .batch_norm = &lamina::batch_norm<T>,
      .batch_norm_backward = &lamina::batch_norm_backward<T>,
      .group_norm = &lamina::group_norm<T>,
      .group_norm_backward = &lamina::group_norm_backward<T>,
      .local_response = &lamina::local_response<T>,
      .local_response_backward = &lamina::local_response_backward<T>,
      .relu = &lamina::relu<T>,
      .relu_backward = &lamina::relu_backward<T>,
      .sigmoid = &lamina::sigmoid<T>,
      .sigmoid_backward = &lamina::sigmoid_backward<T>,
      .tanh = &lamina::tanh<T>,
      .tanh_backward = &lamina::tanh_backward<T>,
      .curve = &lamina::curve<T>,
      .curve_backward = &lamina::curve_backward<T>,
      .softmax = &lamina::softmax<T>,
      .softmax_backward = &lamina::softmax_backward<T>,
      .log_softmax = &lamina::log_softmax<T>,
      .log_softmax_backward = &lamina::log_softmax_backward<T>,
      .softmax_cross_entropy = &lamina::softmax_cross_entropy<T>,
      .softmax_cross_entropy_backward = &lamina::softmax_cross_entropy_backward<T>,
      .mean_squared_error = &lamina::mean_squared_error<T>,
      .mean_squared_error_backward = &lamina::mean_squared_error_backward<T>,
      .sgd_step = &lamina::sgd_step<T>,
      .adam_step = &lamina::adam_step<T>,
      .rms_step = &lamina::rms_step<T>,
      .adadelta_step = &lamina::adadelta_step<T>,
      .multiply_adds = &lamina::multiply_adds<T>,
      .sum_memory = &lamina::sum_memory<T>,
  };
}

}  // namespace

#define LAMINA_STRING_(x) #x
#define LAMINA_STRING(x) LAMINA_STRING_(x)
#define LAMINA_JOIN_(a, b) a##b
#define LAMINA_JOIN(a, b) LAMINA_JOIN_(a, b)
extern constexpr KernelTable LAMINA_JOIN(kernels_, LAMINA_ISA){LAMINA_STRING(LAMINA_ISA), make_kernels<float>(),
                                                               make_kernels<double>()};

}  // namespace lamina
