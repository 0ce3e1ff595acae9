// Layer norm over the channels of each pixel of contiguous planes, in cuts of pixels whose channels
// stay in the cache. A cut is read channel by channel, a page at a time, as memory likes it; the
// numbers of its pixels lie in the nearest cache.
#pragma once
#include "layer.h"

namespace visus {

template <class T, int ACT> struct Pixels : Layer<T, ACT> {
  typedef Layer<T, ACT> B;
  typedef typename B::P P;
  typedef typename B::A A;
  typedef typename B::V V;
  static constexpr int L = P::L;
  using B::B, B::a, B::M, B::K, B::S, B::x, B::g, B::y, B::weight, B::bias, B::bend, B::hi, B::lo, B::inverse, B::threads, B::total;

  static constexpr int64_t WIDTH = 4096 / BYTES;  // vectors of a cut, at most
  static constexpr int64_t CUT = 512 << 10;       // bytes of a cut
  static constexpr int64_t FEW = 8;               // channels whose mean is the shift

  int64_t cut() const { return L * std::max<int64_t>(1, std::min<int64_t>(WIDTH, CUT / (K * L * int64_t(sizeof(T)) * (g ? 2 : 1)))); }

  void run() {
    const int64_t wide = cut(), cuts = (S + wide - 1) / wide, items = M * cuts, count = (items + threads - 1) / threads;
    const bool past = B::streams(y, S);
    if (g) total.reset(new double[2 * K * threads]());
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t t = 0; t < threads; t++)
      for (int64_t i = t * count; i < std::min(items, (t + 1) * count); i++) {
        const int64_t n = i / cuts, s0 = i % cuts * wide, many = std::min(S - s0, wide);
        if (g) backward(n, s0, many, total.get() + t * 2 * K, past); else forward(n, s0, many, past);
      }
    if (a.past) fence();
    if (g) B::finish();
  }

  VISUS_APART void forward(int64_t n, int64_t s0, int64_t many, bool past) const {
    const int64_t K = this->K, S = this->S, few = std::min(FEW, K);
    const A *weight = this->weight, *bias = this->bias;
    const Bend<A> bend = this->bend;
    const T* from = x + n * K * S + s0;
    T* into = y + n * K * S + s0;
    const A share = A(1) / A(K), eps = A(a.eps);
    V k[WIDTH] = {}, d1[WIDTH], d2[WIDTH];
    for (int64_t c = 0; c < few; c++) P::along(many, [&](int64_t j, auto m) VISUS_HERE { k[j / L] += P::at(from + c * S + j, m); });
    for (V& v : k) v *= A(1) / A(few);
    for (bool again = false, far = true; far; again = true) {
      for (int64_t v = 0; v < WIDTH; v++) d1[v] = d2[v] = V{};
      for (int64_t c = 0; c < K; c++)
        P::along(many, [&](int64_t j, auto m) VISUS_HERE {
          P::later(from + (c + 1) * S + j, 0);
          const V d = P::at(from + c * S + j, m) - k[j / L];
          d1[j / L] += d, d2[j / L] += d * d;
        });
      far = false;
      for (int64_t v = 0; v * L < many && !again; v++) {  // a shift so far off that the squares have lost digits
        const V low = d1[v] * share, off = low * low, var = d2[v] * share - off;
        for (int i = 0; i < L; i++) far |= off[i] > A(FAR) * var[i];
      }
      if (far) for (int64_t v = 0; v < WIDTH; v++) k[v] += d1[v] * share;
    }
    V *scale = d2, *off = d1;
    P::along(many, [&](int64_t j, auto m) VISUS_HERE {
      const int64_t v = j / L, at = n * S + s0 + j;
      const V low = d1[v] * share, var = d2[v] * share - low * low;
      P::put(hi + at, k[v], m, false), P::put(lo + at, low, m, false);
      scale[v] = A(1) / root((var < 0 ? V{} : var) + eps);
      off[v] = -low * scale[v];
      P::put(inverse + at, scale[v], m, false);
    });
    for (int64_t c = 0; c < K; c++) {
      const V w = all(weight ? weight[c] : A(1)), b = all(bias ? bias[c] : A(0));
      P::along(many, [&](int64_t j, auto m) VISUS_HERE {
        const V xhat = (P::at(from + c * S + j, m) - k[j / L]) * scale[j / L] + off[j / L];
        P::put(into + c * S + j, act<ACT>(xhat * w + b, bend), m, past);
      });
    }
  }

  VISUS_APART void backward(int64_t n, int64_t s0, int64_t many, double* sums, bool past) const {
    const int64_t K = this->K, S = this->S, base = n * K * S + s0, set = n * S + s0;
    const A *weight = this->weight, *bias = this->bias;
    const Bend<A> bend = this->bend;
    const T *xr = x + base, *gr = g + base;
    T* into = y + base;
    const A share = A(1) / A(K);
    V h[WIDTH], i[WIDTH], off[WIDTH], t1[WIDTH] = {}, t2[WIDTH] = {};
    P::along(many, [&](int64_t j, auto m) VISUS_HERE {
      h[j / L] = P::at(hi + set + j, m), i[j / L] = P::at(inverse + set + j, m), off[j / L] = -P::at(lo + set + j, m) * i[j / L];
    });
    for (int64_t c = 0; c < K; c++) {
      const V w = all(weight ? weight[c] : A(1)), b = all(bias ? bias[c] : A(0));
      V dw = {}, db = {};
      P::along(many, [&](int64_t j, auto m) VISUS_HERE {
        const int64_t v = j / L;
        P::later(xr + (c + 1) * S + j, 0), P::later(gr + (c + 1) * S + j, 0);
        const V xhat = (P::at(xr + c * S + j, m) - h[v]) * i[v] + off[v], e = B::pulled(P::at(gr + c * S + j, m), xhat, w, b, bend), f = e * w;
        db += e, dw += e * xhat;
        t1[v] += f, t2[v] += f * xhat;
      });
      sums[c] += exact(dw), sums[K + c] += exact(db);
    }
    for (int64_t v = 0; v < WIDTH; v++) t1[v] *= share, t2[v] *= share;
    for (int64_t c = 0; c < K; c++) {
      const V w = all(weight ? weight[c] : A(1)), b = all(bias ? bias[c] : A(0));
      P::along(many, [&](int64_t j, auto m) VISUS_HERE {
        const int64_t v = j / L;
        const V xhat = (P::at(xr + c * S + j, m) - h[v]) * i[v] + off[v], e = B::pulled(P::at(gr + c * S + j, m), xhat, w, b, bend);
        P::put(into + c * S + j, (e * w - t1[v] - xhat * t2[v]) * i[v], m, past);
      });
    }
  }
  static VISUS_INLINE V root(V v) {
    for (int k = 0; k < L; k++) v[k] = std::sqrt(v[k]);
    return v;
  }
};

}  // namespace visus
