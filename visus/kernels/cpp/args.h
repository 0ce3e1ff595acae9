// What the kernels are called with: by Python as packed bytes, by the autograd node as it is.
#pragma once
#include <cstdint>

namespace visus {

// A norm over unions of planes, see norms.cpp. Forward where g is null, else backward.
struct NormArgs {
  int64_t dtype, last, n, c, s, act, groups, threads, past;  // groups 0: mixture
  const void *x, *g;
  void* y;  // or dx
  const void *weight, *bias, *gate, *fixed_mean, *fixed_var;
  void *running_mean, *running_var;
  void *dweight, *dbias, *dgate;
  double *mean, *inverse;              // saved (N, C) or (N, groups)
  double *batch_mean, *batch_inverse;  // saved (C)
  double eps, alpha, constant, factor;
};

// A layer norm over rows of numbers or over the channels of pixels, see rows.cpp.
struct LayerArgs {
  int64_t dtype, pixels, n, c, s, act, threads, past;  // rows: n rows of c numbers
  int64_t channels;  // rows are (S, C) with so many channels and weights (C, S), or 0
  const void *x, *g;
  void* y;  // or dx
  const void *weight, *bias;
  void *dweight, *dbias;
  void* saved;  // hi, lo (the mean) and 1 / sigma: three times one for each row or pixel
  double eps, alpha;
};

}  // namespace visus
