// What layer norms over rows (rows.cpp) and over the channels of pixels (pixels.h) share.
#pragma once
#include <memory>
#include "args.h"
#include "planes.h"

namespace visus {

template <class T, int ACT> struct Layer {
  typedef Planes<T> P;
  typedef typename P::A A;
  typedef typename P::V V;
  static constexpr int L = P::L;

  const LayerArgs& a;
  const int64_t M, K, S;
  const T *x = (const T*)a.x, *g = (const T*)a.g;
  T* y = (T*)a.y;
  const A *weight = (const A*)a.weight, *bias = (const A*)a.bias;
  const Bend<A> bend{A(a.alpha), int(a.act)};
  A *hi, *lo, *inverse;
  const int threads;
  std::unique_ptr<double[]> total;  // for each thread: dweight and dbias

  explicit Layer(const LayerArgs& args) : a(args), M(args.n), K(args.c), S(args.s), threads(int(args.threads)) {
    const int64_t sets = a.pixels ? M * S : M;
    hi = (A*)a.saved, lo = hi + sets, inverse = lo + sets;
  }

  bool streams(const T* p, int64_t step) const {
    return a.past && uintptr_t(p) % (sizeof(T) * L) == 0 && (step * sizeof(T)) % (sizeof(T) * L) == 0;
  }
  template <class N> static VISUS_INLINE V number(const A* p, int64_t j, N n, A other) { return p ? P::at(p + j, n) : all(other); }

  // g act' at xhat w + b
  static VISUS_INLINE V pulled(V g, V xhat, V w, V b, Bend<A> bend) {
    if constexpr (ACT == NONE) return g;
    return pull<ACT>(g, xhat * w + b, bend);
  }

  // The sums of all threads, as the gradients of weight and bias
  void finish(A* dweight, A* dbias) const {
    for (int t = 1; t < threads; t++) add(total.get() + t * 2 * K, total.get());
    narrow(total.get(), dweight), narrow(total.get() + K, dbias);
  }
  void add(const double* from, double* into) const {
#pragma omp simd
    for (int64_t j = 0; j < 2 * K; j++) into[j] += from[j];
  }
  void narrow(const double* from, A* into) const {
#pragma omp simd
    for (int64_t j = 0; j < (into ? K : 0); j++) into[j] = A(from[j]);
  }
};

}  // namespace visus
