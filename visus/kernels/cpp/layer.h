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

  // Where number j of a row is in the weights: they are (C, S) where the rows are (S, C).
  int64_t place(int64_t j) const { return a.channels ? j % a.channels * (K / a.channels) + j / a.channels : j; }

  void finish() const {
    for (int64_t j = 0; j < K; j++) {
      double w = 0, b = 0;
      for (int t = 0; t < threads; t++) { w += total[t * 2 * K + j]; b += total[t * 2 * K + K + j]; }
      if (a.dweight) ((A*)a.dweight)[place(j)] = A(w);
      if (a.dbias) ((A*)a.dbias)[place(j)] = A(b);
    }
  }
};

}  // namespace visus
