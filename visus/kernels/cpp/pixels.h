// Layer norm over the channels of each pixel of contiguous planes, in cuts of pixels whose channels
// stay in the cache. A cut is read a page of a channel at a time, of a few channels side by side, as
// memory likes it; the numbers of its pixels lie in the nearest cache.
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

  static constexpr int64_t WIDTH = 8192 / BYTES;  // vectors of a cut, at most
  static constexpr int64_t CUT = 2 << 20;         // bytes of a cut: short streams cost more than a reading from L3
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
    if (g) B::finish((A*)a.dweight, (A*)a.dbias);
  }

  VISUS_APART void forward(int64_t n, int64_t s0, int64_t many, bool past) const {
    const int64_t K = this->K, S = this->S, few = std::min(FEW, K), used = (many + L - 1) / L;
    const A *weight = this->weight, *bias = this->bias;
    const Bend<A> bend = this->bend;
    const T* from = x + n * K * S + s0;
    T* into = y + n * K * S + s0;
    const A share = A(1) / A(K), eps = A(a.eps);
    V k[WIDTH], d1[WIDTH], d2[WIDTH];
    std::fill(k, k + used, V{});
    for (int64_t c = 0; c < few; c++) P::along(many, [&](int64_t j, auto m) VISUS_HERE { k[j / L] += P::at(from + c * S + j, m); });
    for (int64_t v = 0; v < used; v++) k[v] *= A(1) / A(few);
    for (bool again = false, far = true; far; again = true) {
      for (int64_t v = 0; v < used; v++) d1[v] = d2[v] = V{};
      together<4>([&](int64_t c, auto channels) VISUS_HERE {
        constexpr int R = decltype(channels)::value;
        P::along(many, [&](int64_t j, auto m) VISUS_HERE {
          V s1 = {}, s2 = {};
          VISUS_ROWS { const V d = P::at(from + (c + r) * S + j, m) - k[j / L]; s1 += d, s2 += d * d; }
          d1[j / L] += s1, d2[j / L] += s2;
        });
      });
      far = false;
      for (int64_t v = 0; v < used && !again; v++) {  // a shift so far off that the squares have lost digits
        const V low = d1[v] * share, off = low * low, var = d2[v] * share - off;
        for (int i = 0; i < L; i++) far |= off[i] > A(FAR) * var[i];
      }
      if (far) for (int64_t v = 0; v < used; v++) k[v] += d1[v] * share;
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
    const int64_t K = this->K, S = this->S, base = n * K * S + s0, set = n * S + s0, used = (many + L - 1) / L;
    const A *weight = this->weight, *bias = this->bias;
    const Bend<A> bend = this->bend;
    const T *xr = x + base, *gr = g + base;
    T* into = y + base;
    const A share = A(1) / A(K);
    V h[WIDTH], i[WIDTH], off[WIDTH], t1[WIDTH], t2[WIDTH];
    std::fill(t1, t1 + used, V{}), std::fill(t2, t2 + used, V{});
    P::along(many, [&](int64_t j, auto m) VISUS_HERE {
      h[j / L] = P::at(hi + set + j, m), i[j / L] = P::at(inverse + set + j, m), off[j / L] = -P::at(lo + set + j, m) * i[j / L];
    });
    together<2>([&](int64_t c, auto channels) VISUS_HERE {
      constexpr int R = decltype(channels)::value;
      V w[R], b[R], dw[R] = {}, db[R] = {};
      VISUS_ROWS w[r] = all(weight ? weight[c + r] : A(1)), b[r] = all(bias ? bias[c + r] : A(0));
      P::along(many, [&](int64_t j, auto m) VISUS_HERE {
        const int64_t v = j / L;
        V s1 = {}, s2 = {};
        VISUS_ROWS {
          const int64_t o = (c + r) * S + j;
          const V xhat = (P::at(xr + o, m) - h[v]) * i[v] + off[v], e = B::pulled(P::at(gr + o, m), xhat, w[r], b[r], bend), f = e * w[r];
          db[r] += e, dw[r] += e * xhat;
          s1 += f, s2 += f * xhat;
        }
        t1[v] += s1, t2[v] += s2;
      });
      VISUS_ROWS sums[c + r] += exact(dw[r]), sums[K + c + r] += exact(db[r]);
    });
    for (int64_t v = 0; v < used; v++) t1[v] *= share, t2[v] *= share;
    for (int64_t c = 0; c < K; c++) {
      const V w = all(weight ? weight[c] : A(1)), b = all(bias ? bias[c] : A(0));
      P::along(many, [&](int64_t j, auto m) VISUS_HERE {
        const int64_t v = j / L;
        const V xhat = (P::at(xr + c * S + j, m) - h[v]) * i[v] + off[v], e = B::pulled(P::at(gr + c * S + j, m), xhat, w, b, bend);
        P::put(into + c * S + j, (e * w - t1[v] - xhat * t2[v]) * i[v], m, past);
      });
    }
  }
  // f(channel, R): R channels side by side, each a stream from memory, and those that are left one by one
  template <int R, class F> VISUS_INLINE void together(F f) const {
    int64_t c = 0;
    for (; c + R <= K; c += R) f(c, std::integral_constant<int, R>());
    for (; c < K; c++) f(c, std::integral_constant<int, 1>());
  }
  static VISUS_INLINE V root(V v) {
    for (int k = 0; k < L; k++) v[k] = std::sqrt(v[k]);
    return v;
  }
};

}  // namespace visus
