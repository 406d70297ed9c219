// Kernels against plain loops on integer data, without Python: for processors that CI can only emulate.
//
//   aarch64-linux-gnu-g++ -std=c++20 -O2 -ffp-contract=fast -Icsrc -static tests/cpp/exact.cpp csrc/dispatch.cpp
//       csrc/common/*.cpp csrc/kernels/topk.cpp csrc/kernels/isa_baseline.cpp csrc/kernels/isa_neon.cpp -o exact
//   qemu-aarch64-static ./exact
//
// Every value is a small integer, so every order of summation gives the same bits. Exit status 1 at the first
// difference.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "dispatch.h"

using namespace lamina;

template <class T>
using Array = std::vector<T>;

static unsigned g_seed = 1;
template <class T>
Array<T> integers(Index n) {
  Array<T> a(static_cast<std::size_t>(n));
  for (T& v : a) {
    g_seed = g_seed * 1664525u + 1013904223u;
    v = static_cast<T>(static_cast<int>(g_seed >> 24) % 7 - 3);
  }
  return a;
}

static int g_compared = 0;
template <class T>
void expect(const std::string& what, const Array<T>& got, const Array<double>& want, int least = 2) {
  int nonzero = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    nonzero += want[i] != 0;
    if (static_cast<double>(got[i]) != want[i]) {
      std::printf("%s: element %zu is %g, expected %g\n", what.c_str(), i, static_cast<double>(got[i]), want[i]);
      std::exit(1);
    }
  }
  if (want.size() > 8 && least * nonzero < static_cast<int>(want.size())) {
    std::printf("%s: most outputs are zero, which proves nothing\n", what.c_str());
    std::exit(1);
  }
  ++g_compared;
}

Array<double> rectified(Array<double> y) {
  for (double& v : y) v = v > 0 ? v : 0;
  return y;
}

template <class T>
void check_gemm(Index M, Index N, Index K) {
  const Array<T> a = integers<T>(M * K), b = integers<T>(K * N), bias = integers<T>(N);
  Array<double> want(static_cast<std::size_t>(M * N));
  for (Index i = 0; i < M; ++i)
    for (Index j = 0; j < N; ++j) {
      double sum = bias[j];
      for (Index k = 0; k < K; ++k) sum += a[i * K + k] * b[k * N + j];
      want[i * N + j] = sum;
    }
  Array<T> at(a.size()), bt(b.size()), c(want.size());
  for (Index i = 0; i < M; ++i)
    for (Index k = 0; k < K; ++k) at[k * M + i] = a[i * K + k];
  for (Index k = 0; k < K; ++k)
    for (Index j = 0; j < N; ++j) bt[j * K + k] = b[k * N + j];
  const MatrixView<T> as[] = {{a.data(), K, 1}, {at.data(), 1, M}}, bs[] = {{b.data(), N, 1}, {bt.data(), 1, K}};
  for (const auto& va : as)
    for (const auto& vb : bs) {
      kernels<T>().gemm(M, N, K, va, vb, c.data(), N, bias.data(), false, false);
      expect("gemm", c, want);
      kernels<T>().gemm(M, N, K, va, vb, c.data(), N, bias.data(), false, true);
      expect("gemm, relu", c, rectified(want), 8);
    }
}

template <class T>
void check_conv(const Conv2dShape& s) {
  const Index C = s.C / s.groups, O = s.O / s.groups;
  const Array<T> x = integers<T>(s.N * s.H * s.W * s.C), w = integers<T>(s.O * s.KH * s.KW * C), b = integers<T>(s.O);
  const Array<T> dy = integers<T>(s.N * s.OH * s.OW * s.O);
  Array<double> y(dy.size()), dx(x.size()), dw(w.size()), db(b.size());
  for (Index n = 0; n < s.N; ++n)
    for (Index oh = 0; oh < s.OH; ++oh)
      for (Index ow = 0; ow < s.OW; ++ow)
        for (Index o = 0; o < s.O; ++o) {
          const Index out = ((n * s.OH + oh) * s.OW + ow) * s.O + o;
          y[out] += b[o];
          db[o] += dy[out];
          for (Index r = 0; r < s.KH; ++r)
            for (Index q = 0; q < s.KW; ++q)
              for (Index c = 0; c < C; ++c) {
                const Index ih = oh * s.stride_h + r * s.dilation_h - s.top,
                            iw = ow * s.stride_w + q * s.dilation_w - s.left;
                if (ih < 0 || ih >= s.H || iw < 0 || iw >= s.W) continue;
                const Index in = ((n * s.H + ih) * s.W + iw) * s.C + o / O * C + c,
                            tap = ((o * s.KH + r) * s.KW + q) * C + c;
                y[out] += x[in] * w[tap];
                dx[in] += dy[out] * w[tap];
                dw[tap] += dy[out] * x[in];
              }
        }
  std::vector<Algorithm> algorithms{Algorithm::automatic, Algorithm::direct, Algorithm::im2col};
  if (s.is_plain(3)) algorithms.push_back(Algorithm::winograd4);
  if (s.is_plain(3) || s.is_plain(5)) algorithms.push_back(Algorithm::winograd2);
  for (const Algorithm algorithm : algorithms) {
    Array<T> ty(y.size()), tdx(dx.size()), tdw(dw.size()), tdb(db.size());
    kernels<T>().conv2d(s, algorithm, x.data(), w.data(), b.data(), false, ty.data());
    kernels<T>().conv2d_backward_input(s, algorithm, dy.data(), w.data(), nullptr, false, tdx.data());
    kernels<T>().conv2d_backward_weight(s, algorithm, dy.data(), x.data(), tdw.data(), tdb.data());
    const bool rounds = algorithm == Algorithm::winograd4 || (algorithm == Algorithm::winograd2 && s.is_plain(5));
    if (rounds)  // by much less than a half
      for (Array<T>* found : {&ty, &tdx, &tdw})
        for (T& v : *found) v = std::fabs(v - std::round(v)) < T(0.01) ? std::round(v) : v;
    expect("conv2d", ty, y);
    kernels<T>().conv2d(s, algorithm, x.data(), w.data(), b.data(), true, ty.data());
    if (rounds)
      for (T& v : ty) v = std::fabs(v - std::round(v)) < T(0.01) ? std::round(v) : v;
    expect("conv2d, relu", ty, rectified(y), 8);
    expect("conv2d_backward_input", tdx, dx);
    const Array<T> bias = integers<T>(s.C);
    Array<double> forward = dx;  // of a transposed convolution
    for (std::size_t i = 0; i < forward.size(); ++i) forward[i] += static_cast<double>(bias[i % bias.size()]);
    kernels<T>().conv2d_backward_input(s, algorithm, dy.data(), w.data(), bias.data(), true, tdx.data());
    if (rounds)
      for (T& v : tdx) v = std::fabs(v - std::round(v)) < T(0.01) ? std::round(v) : v;
    expect("conv2d_backward_input, bias and relu", tdx, rectified(forward), 8);
    expect("conv2d_backward_weight dw", tdw, dw);
    expect("conv2d_backward_weight db", tdb, db);
  }
}

template <class T>
void check_pool(const Pool2dShape& s) {
  const Array<T> x = integers<T>(s.N * s.H * s.W * s.C), dy = integers<T>(s.N * s.OH * s.OW * s.C);
  Array<double> y(dy.size()), dx(x.size());
  for (Index out = 0; out < static_cast<Index>(dy.size()); ++out) {
    const Index c = out % s.C, ow = out / s.C % s.OW, oh = out / s.C / s.OW % s.OH, n = out / s.C / s.OW / s.OH;
    Index best = -1;
    for (Index r = 0; r < s.KH; ++r)
      for (Index q = 0; q < s.KW; ++q) {
        const Index ih = oh * s.stride_h + r - s.top, iw = ow * s.stride_w + q - s.left;
        if (ih < 0 || ih >= s.H || iw < 0 || iw >= s.W) continue;
        const Index in = ((n * s.H + ih) * s.W + iw) * s.C + c;
        if (best < 0 || x[in] > x[best]) best = in;
      }
    y[out] = x[best];
    dx[best] += dy[out];
  }
  Array<T> ty(y.size()), tdx(dx.size());
  Array<std::uint8_t> codes(y.size());
  kernels<T>().max_pool2d_u8(s, false, x.data(), ty.data(), codes.data());
  kernels<T>().max_pool2d_backward_u8(s, dy.data(), codes.data(), tdx.data());
  expect("max_pool2d", ty, y);
  kernels<T>().max_pool2d_u8(s, true, x.data(), ty.data(), codes.data());
  expect("max_pool2d, relu", ty, rectified(y), 8);
  for (std::size_t i = 0; i < dx.size(); ++i)
    if (static_cast<double>(tdx[i]) != dx[i]) std::printf("max_pool2d_backward differs at %zu\n", i), std::exit(1);
}

// One layer of rectified units over N sequences of T steps, the shorter ones last, as vectors and as tokens.
template <class T>
void check_sequence(Index N, Index T_, Index D, Index H, bool with_tokens) {
  std::vector<Index> offset{0}, source;
  for (Index t = 0; t < T_; ++t) {
    for (Index n = 0; n < (t + 1 == T_ && N > 1 ? N - 1 : N); ++n) source.push_back(n * T_ + t);
    offset.push_back(static_cast<Index>(source.size()));
  }
  const Index R = N * T_, P = offset.back(), F = with_tokens ? 0 : D, K = padded_row(F + H + 1, sizeof(T));
  const SequenceShape s{N, D, H, R, T_, offset.data(), source.data()};
  Array<T> x(R * D), h0 = integers<T>(N * H), w_ih = integers<T>(H * D), w_hh = integers<T>(H * H), b = integers<T>(H);
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(R));
  const Array<T> drawn = integers<T>(R * D);
  for (Index r = 0; r < R; ++r) tokens[r] = (r * 7 + 3) % D;
  for (Index r = 0; r < R; ++r)
    for (Index d = 0; d < D; ++d) x[r * D + d] = with_tokens ? static_cast<T>(d == tokens[r]) : drawn[r * D + d];
  const Array<T> dy = integers<T>(R * H), dlast = integers<T>(N * H);
  Array<double> y(R * H), dx(R * D), dh(N * H), dw_ih(H * D), dw_hh(H * H), db(H);
  const auto before = [&](Index n, Index t, Index k) { return t == 0 ? h0[n * H + k] : y[(n * T_ + t - 1) * H + k]; };
  for (const Index r : source)
    for (Index j = 0; j < H; ++j) {
      double a = b[j];
      for (Index d = 0; d < D; ++d) a += w_ih[j * D + d] * x[r * D + d];
      for (Index k = 0; k < H; ++k) a += w_hh[j * H + k] * before(r / T_, r % T_, k);
      y[r * H + j] = a > 0 ? a : 0;
    }
  for (Index i = 0; i < N * H; ++i) dh[i] = dlast[i];
  for (Index p = P - 1; p >= 0; --p) {
    const Index r = source[p], n = r / T_;
    Array<double> da(H);
    for (Index j = 0; j < H; ++j) da[j] = y[r * H + j] > 0 ? dh[n * H + j] + dy[r * H + j] : 0;
    for (Index k = 0; k < H; ++k) dh[n * H + k] = 0;
    for (Index j = 0; j < H; ++j) {
      db[j] += da[j];
      for (Index d = 0; d < D; ++d) dx[r * D + d] += da[j] * w_ih[j * D + d], dw_ih[j * D + d] += da[j] * x[r * D + d];
      for (Index k = 0; k < H; ++k)
        dh[n * H + k] += da[j] * w_hh[j * H + k], dw_hh[j * H + k] += da[j] * before(n, r % T_, k);
    }
  }
  Array<T> ty(R * H), xh(P * K), gates(P * H), tdx(R * D), tdh(N * H), tdw_ih(H * D), tdw_hh(H * H), tdb(H);
  Sequence<T> q{};
  q.x = with_tokens ? nullptr : x.data(), q.tokens = with_tokens ? tokens.data() : nullptr;
  q.h0 = h0.data(), q.w_ih = w_ih.data(), q.w_hh = w_hh.data(), q.b = b.data();
  q.y = ty.data(), q.xh = xh.data(), q.gates = gates.data(), q.ldy = H;
  kernels<T>().sequence(Cell::rnn_relu, s, q);
  SequenceGradient<T> d{};
  d.dy = dy.data(), d.dh_last = dlast.data(), d.dx = tdx.data(), d.dh0 = tdh.data();
  d.dw_ih = tdw_ih.data(), d.dw_hh = tdw_hh.data(), d.db = tdb.data();
  kernels<T>().sequence_backward(Cell::rnn_relu, s, q, d);
  expect("sequence", ty, y, 4);
  if (!with_tokens) expect("sequence_backward dx", tdx, dx, 4);
  expect("sequence_backward dh0", tdh, dh, 4);
  expect("sequence_backward dw_ih", tdw_ih, dw_ih, 4);
  expect("sequence_backward dw_hh", tdw_hh, dw_hh, 4);
  expect("sequence_backward db", tdb, db);
}

template <class T>
void check_functions() {
  Array<T> x, s(513), t(513);
  for (int i = 0; i < 513; ++i) x.push_back(static_cast<T>((i - 256) / 16.0));
  kernels<T>().sigmoid(513, x.data(), s.data());
  kernels<T>().tanh(513, x.data(), t.data());
  const double eps = sizeof(T) == 4 ? 1.2e-7 : 2.3e-16;
  for (int i = 0; i < 513; ++i) {
    const double v = static_cast<double>(x[i]), sig = 1 / (1 + std::exp(-v)), th = std::tanh(v);
    if (std::fabs(static_cast<double>(s[i]) - sig) > 4 * eps * sig ||
        std::fabs(static_cast<double>(t[i]) - th) > 6 * eps * std::fabs(th))
      std::printf("sigmoid or tanh is off at %g\n", v), std::exit(1);
  }
  ++g_compared;
}

// Sparse codes: the support has ties, for there are only seven values.
template <class T>
void check_sparse_code(Index M, Index N, Index k, Index D) {
  const Array<T> z = integers<T>(M * N), w = integers<T>(N * D), b = integers<T>(D), dy = integers<T>(M * D);
  Array<double> values, units, y, dots, outer(w.size());
  for (Index m = 0; m < M; ++m) {
    y.insert(y.end(), b.begin(), b.end());
    for (Index n = 0; n < N; ++n) {
      Index before = 0;  // units that are chosen first
      for (Index i = 0; i < N; ++i) before += z[m * N + i] > z[m * N + n] || (z[m * N + i] == z[m * N + n] && i < n);
      if (before >= k) continue;
      values.push_back(z[m * N + n]);
      units.push_back(static_cast<double>(n));
      dots.push_back(0);
      for (Index d = 0; d < D; ++d) {
        y[m * D + d] += z[m * N + n] * w[n * D + d];
        dots.back() += dy[m * D + d] * w[n * D + d];
        outer[n * D + d] += z[m * N + n] * dy[m * D + d];
      }
    }
  }
  Array<T> got_values(values.size()), got_dots(dots.size()), got_y(y.size()), got_outer(outer.size());
  Array<std::int64_t> got_units(units.size());
  kernels<T>().support(M, N, k, z.data(), got_values.data(), got_units.data());
  expect("support", got_values, values, 4);
  expect("support, units", got_units, units);
  kernels<T>().sparse_linear(M, k, D, got_values.data(), got_units.data(), w.data(), b.data(), got_y.data());
  expect("sparse_linear", got_y, y);
  kernels<T>().sparse_dots(M, k, D, dy.data(), got_units.data(), w.data(), got_dots.data());
  expect("sparse_dots", got_dots, dots);
  kernels<T>().sparse_outer(M, N, k, D, got_units.data(), got_values.data(), dy.data(), nullptr, nullptr,
                            got_outer.data());
  expect("sparse_outer", got_outer, outer, 8);
}

template <class T>
void check_all() {
  check_gemm<T>(1, 1, 1);
  check_gemm<T>(7, 5, 3);
  check_gemm<T>(33, 70, 129);
  check_gemm<T>(130, 17, 600);
  check_gemm<T>(15, 53, 40);
  check_gemm<T>(9, 27, 30);
  //              N  H  W   C   O  KH KW OH OW  stride padding     dilation groups
  check_conv<T>({2, 6, 7, 3, 5, 3, 3, 6, 7, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  check_conv<T>({3, 9, 10, 21, 35, 3, 3, 8, 11, 1, 1, 0, 1, 2, 1, 1, 1, 1});
  check_conv<T>({1, 9, 8, 17, 33, 3, 2, 5, 4, 2, 2, 1, 1, 0, 1, 1, 1, 1});
  check_conv<T>({3, 9, 9, 8, 8, 3, 3, 5, 5, 1, 1, 0, 0, 0, 0, 2, 2, 2});
  check_conv<T>({2, 8, 8, 6, 6, 3, 3, 8, 8, 1, 1, 1, 1, 1, 1, 1, 1, 6});
  check_conv<T>({2, 5, 5, 16, 48, 1, 1, 5, 5, 1, 1, 0, 0, 0, 0, 1, 1, 1});
  check_conv<T>({3, 9, 7, 11, 20, 5, 5, 9, 7, 1, 1, 2, 2, 2, 2, 1, 1, 1});
  check_pool<T>({2, 6, 6, 19, 2, 2, 3, 3, 2, 2, 0, 0, 0, 0});
  check_pool<T>({1, 7, 9, 5, 3, 3, 4, 5, 2, 2, 1, 1, 1, 1});
  check_sequence<T>(3, 3, 2, 3, false);
  check_sequence<T>(30, 2, 5, 19, false);
  check_sequence<T>(7, 3, 4, 6, true);
  check_sparse_code<T>(3, 5, 2, 3);
  check_sparse_code<T>(9, 70, 33, 150);
  check_functions<T>();
}

int main() {
  for (const std::string& isa : available_isas()) {
    select_isa(isa);
    check_all<float>();
    check_all<double>();
    std::printf("%s: exact\n", isa.c_str());
  }
  std::printf("%d comparisons\n", g_compared);
}
