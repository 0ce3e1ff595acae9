// The four passes over planes: contiguous ones (numbers by plane), and rows of channels
// (channels-last; numbers by channel).
#pragma once
#include <algorithm>
#include "vector.h"

namespace visus {

constexpr int64_t TILE = 4096;  // numbers that are summed before the sum goes on in float64


// Count, mean and sum of squared deviations, merged by Chan, Golub and LeVeque 1983, (2.1).
struct Moments {
  double count = 0, mean = 0, square = 0;
  VISUS_INLINE void merge(double n, double m, double s) {
    if (count == 0) { count = n; mean = m; square = s; return; }
    double all = count + n, share = n / all, d = m - mean;
    mean += d * share;
    square += s + d * d * count * share;
    count = all;
  }
};

// The numbers of a plane, or of the channels of a row: y = act((x - hi) a + b), where b
// carries what the mean is more than hi.
template <class A> struct Small { A hi, a, b, p, q, r; };

template <class T> struct Planes {
  typedef typename Of<T>::A A;
  typedef typename Of<T>::V V;
  static constexpr int L = lanes<A>;

  // Ask for what the next cut will read.
  static VISUS_INLINE void soon(const T* p, int64_t ahead) { __builtin_prefetch(p + ahead); }

  // ---- one contiguous plane ------------------------------------------------------------

  static VISUS_INLINE void tile(const T* x, int64_t n, Moments& into) {
    V s[4] = {};
    int64_t i = 0;
    for (; i + 4 * L <= n; i += 4 * L)
      for (int j = 0; j < 4; j++) s[j] += load(x + i + j * L);
    for (; i + L <= n; i += L) s[0] += load(x + i);
    if (i < n) s[1] += load(x + i, int(n - i));
    A k = total((s[0] + s[1]) + (s[2] + s[3])) / A(n);
    V d1[4] = {}, d2[4] = {};
    for (i = 0; i + 4 * L <= n; i += 4 * L)
      for (int j = 0; j < 4; j++) { V d = load(x + i + j * L) - k; d1[j] += d; d2[j] += d * d; }
    for (; i + L <= n; i += L) { V d = load(x + i) - k; d1[0] += d; d2[0] += d * d; }
    if (i < n) { V d = only<A>(load(x + i, int(n - i)) - k, int(n - i)); d1[1] += d; d2[1] += d * d; }
    double m = total((d1[0] + d1[1]) + (d1[2] + d1[3]));
    double v = total((d2[0] + d2[1]) + (d2[2] + d2[3]));
    double inverse = 1.0 / double(n);
    into.merge(double(n), double(k) + m * inverse, v - m * m * inverse);
  }
  static VISUS_APART void moments(const T* x, int64_t s, double& mean, double& var) {
    Moments all;
    for (int64_t i = 0; i < s; i += TILE) tile(x + i, std::min(TILE, s - i), all);
    mean = all.mean;
    var = std::max(all.square, 0.0) / double(s);
    if (all.square != all.square) var = all.square;
  }

  template <int ACT> static VISUS_APART void apply(const T* x, T* y, int64_t s, const Small<A>& k, A alpha, bool past, int64_t ahead) {
    auto f = [&](V v) { return act<ACT>((v - k.hi) * k.a + k.b, alpha); };
    int64_t i = 0;
    if (past) {
      while (i < s && (uintptr_t(y + i) & (sizeof(T) * L - 1))) i++;
      if (i && i < L) store(y, f(load(x, int(i))), int(i)); else if (i) { past = false; i = 0; }
    }
    if (past) for (; i + L <= s; i += L) { soon(x + i, ahead); stream(y + i, f(load(x + i))); }
    for (; i + 2 * L <= s; i += 2 * L) {
      soon(x + i, ahead);
      soon(x + i + L, ahead);
      V u = f(load(x + i)), v = f(load(x + i + L));
      store(y + i, u);
      store(y + i + L, v);
    }
    for (; i + L <= s; i += L) store(y + i, f(load(x + i)));
    if (i < s) store(y + i, f(load(x + i, int(s - i))), int(s - i));
  }

  template <int ACT> static VISUS_APART void sums(const T* g, const T* x, int64_t s, const Small<A>& k, A alpha, double& sg, double& sx) {
    double tg = 0, tx = 0;
    for (int64_t t = 0; t < s; t += TILE / 4) {
      int64_t n = std::min(TILE / 4, s - t), i = 0;
      const T *gt = g + t, *xt = x + t;
      V h0[4] = {}, h1[4] = {};
      auto f = [&](V gv, V xv, int j) {
        V d = xv - k.hi;
        V h = ACT == NONE ? gv : pull<ACT>(gv, d * k.a + k.b, alpha);
        h0[j] += h;
        h1[j] += h * d;
      };
      for (; i + 4 * L <= n; i += 4 * L)
        for (int j = 0; j < 4; j++) f(load(gt + i + j * L), load(xt + i + j * L), j);
      for (int j = 0; i + L <= n; i += L, j++) f(load(gt + i), load(xt + i), j);
      if (i < n) f(load(gt + i, int(n - i)), only<A>(load(xt + i, int(n - i)), int(n - i)), 3);
      tg += exact((h0[0] + h0[1]) + (h0[2] + h0[3]));
      tx += exact((h1[0] + h1[1]) + (h1[2] + h1[3]));
    }
    sg = tg;
    sx = tx;
  }

  template <int ACT> static VISUS_APART void write(const T* g, const T* x, T* dx, int64_t s, const Small<A>& k, A alpha, bool past, int64_t ahead) {
    auto f = [&](V gv, V xv) {
      V d = xv - k.hi;
      V h = ACT == NONE ? gv : pull<ACT>(gv, d * k.a + k.b, alpha);
      return h * k.p + (d * k.q + k.r);
    };
    int64_t i = 0;
    if (past) {
      while (i < s && (uintptr_t(dx + i) & (sizeof(T) * L - 1))) i++;
      if (i && i < L) store(dx, f(load(g, int(i)), load(x, int(i))), int(i)); else if (i) { past = false; i = 0; }
    }
    for (; i + L <= s; i += L) {
      soon(g + i, ahead);
      soon(x + i, ahead);
      V v = f(load(g + i), load(x + i));
      if (past) stream(dx + i, v); else store(dx + i, v);
    }
    if (i < s) store(dx + i, f(load(g + i, int(s - i)), load(x + i, int(s - i))), int(s - i));
  }

  // ---- planes one after another --------------------------------------------------------
  // Small ones without a call for each.

  // Numbers by plane or by channel, each an array.
  struct Wide { const A *hi, *a, *b, *p, *q, *r; };
  static VISUS_INLINE Small<A> number(const Wide& k, int64_t c) { return {k.hi[c], k.a[c], k.b[c], k.p[c], k.q[c], k.r[c]}; }
  static constexpr int64_t SMALL = 16 * L;

  // f(j, i, many) for the vectors of a small plane, j counting them: many = L, or fewer at the end
  template <class F> static VISUS_INLINE void vectors(int64_t s, F f) {
    int64_t i = 0;
    for (; i + 2 * L <= s; i += 2 * L) { f(0, i, std::integral_constant<int, L>()); f(1, i + L, std::integral_constant<int, L>()); }
    if (i + L <= s) { f(0, i, std::integral_constant<int, L>()); i += L; }
    if (i < s) f(1, i, int(s - i));
  }

  static void moments_planes(const T* x, int64_t planes, int64_t s, double* mean, double* var) {
    if (s <= SMALL) return small_moments(x, planes, s, mean, var);
    for (int64_t c = 0; c < planes; c++) moments(x + c * s, s, mean[c], var[c]);
  }
  static VISUS_APART void small_moments(const T* x, int64_t planes, int64_t s, double* mean, double* var) {
    const A share = A(1) / A(s);
    const double inverse = 1.0 / double(s);
    for (int64_t c = 0; c < planes; c++, x += s) {
      V t[2] = {}, d1[2] = {}, d2[2] = {};
      vectors(s, [&](int j, int64_t i, auto w) { t[j] += at(x + i, w); });
      const A k = total(t[0] + t[1]) * share;
      vectors(s, [&](int j, int64_t i, auto w) {
        V d = at(x + i, w) - k;
        if constexpr (std::is_same_v<decltype(w), int>) d = only<A>(d, w);
        d1[j] += d;
        d2[j] += d * d;
      });
      const double m = total(d1[0] + d1[1]), v = total(d2[0] + d2[1]) - m * m * inverse;
      mean[c] = double(k) + m * inverse;
      var[c] = v < 0 ? 0.0 : v * inverse;
    }
  }

  template <int ACT> static VISUS_APART void apply_planes(const T* x, T* y, int64_t planes, int64_t s, const Wide& k, A alpha, bool past, int64_t ahead) {
    if (s > SMALL) {
      for (int64_t c = 0; c < planes; c++) apply<ACT>(x + c * s, y + c * s, s, number(k, c), alpha, past, ahead);
      return;
    }
    past = streams(y, s, past);
    for (int64_t c = 0; c < planes; c++, x += s, y += s) {
      const V hi = all(k.hi[c]), a = all(k.a[c]), b = all(k.b[c]);
      vectors(s, [&](int, int64_t i, auto w) {
        soon(x + i, ahead);
        put(y + i, act<ACT>((at(x + i, w) - hi) * a + b, alpha), w, past);
      });
    }
  }

  template <int ACT> static VISUS_APART void sums_planes(const T* g, const T* x, int64_t planes, int64_t s, const Wide& k, A alpha, double* sg, double* sx) {
    if (s > SMALL) {
      for (int64_t c = 0; c < planes; c++) sums<ACT>(g + c * s, x + c * s, s, number(k, c), alpha, sg[c], sx[c]);
      return;
    }
    for (int64_t c = 0; c < planes; c++, x += s, g += s) {
      const V hi = all(k.hi[c]), a = all(k.a[c]), b = all(k.b[c]);
      V h0[2] = {}, h1[2] = {};
      vectors(s, [&](int j, int64_t i, auto w) {
        V d = at(x + i, w) - hi, v = at(g + i, w);
        V h = ACT == NONE ? v : pull<ACT>(v, d * a + b, alpha);
        h0[j] += h;
        h1[j] += h * d;
      });
      sg[c] = exact(h0[0] + h0[1]);
      sx[c] = exact(h1[0] + h1[1]);
    }
  }

  template <int ACT> static VISUS_APART void write_planes(const T* g, const T* x, T* dx, int64_t planes, int64_t s, const Wide& k, A alpha, bool past, int64_t ahead) {
    if (s > SMALL) {
      for (int64_t c = 0; c < planes; c++) write<ACT>(g + c * s, x + c * s, dx + c * s, s, number(k, c), alpha, past, ahead);
      return;
    }
    past = streams(dx, s, past);
    for (int64_t c = 0; c < planes; c++, x += s, g += s, dx += s) {
      const V hi = all(k.hi[c]), a = all(k.a[c]), b = all(k.b[c]), p = all(k.p[c]), q = all(k.q[c]), r = all(k.r[c]);
      vectors(s, [&](int, int64_t i, auto w) {
        soon(x + i, ahead);
        soon(g + i, ahead);
        V d = at(x + i, w) - hi, v = at(g + i, w);
        V h = ACT == NONE ? v : pull<ACT>(v, d * a + b, alpha);
        put(dx + i, h * p + (d * q + r), w, past);
      });
    }
  }

  // ---- rows of C channels --------------------------------------------------------------
  // Four rows at a time, so that the numbers of a channel are read once for all of them.

  static constexpr int ROWS = 4;
  static constexpr int64_t CHUNK = 1024;  // channels at a time

  // f(j, many): many = L, or fewer at the end
  template <class F> static VISUS_INLINE void along(int64_t c, F f) {
    int64_t j = 0;
    for (; j + L <= c; j += L) f(j, std::integral_constant<int, L>());
    if (j < c) f(j, int(c - j));
  }
  template <class P, class N> static VISUS_INLINE V at(const P* p, N n) {
    if constexpr (std::is_same_v<N, int>) return load(p, n); else return load(p);
  }
  template <class P, class N> static VISUS_INLINE void put(P* p, V v, N n, bool past) {
    if constexpr (std::is_same_v<N, int>) store(p, v, n); else if (past) stream(p, v); else store(p, v);
  }
  // f(i, how many rows): ROWS short ones at a time, then one by one. Longer ones side by side
  // would be more streams than the processor's prefetchers follow.
  template <class F> static VISUS_INLINE void down(int64_t rows, int64_t c, F f) {
    int64_t i = 0;
    if (c * int64_t(sizeof(T)) <= 512) for (; i + ROWS <= rows; i += ROWS) f(i, std::integral_constant<int, ROWS>());
    for (; i < rows; i++) f(i, std::integral_constant<int, 1>());
  }
  static int64_t tile_rows(int64_t c) { return std::max<int64_t>(8, std::min<int64_t>(256, 32768 / c)); }

  // mean[c], square[c] over the rows.
  static VISUS_APART void moments_rows(const T* x, int64_t rows, int64_t c, double* mean, double* square) {
    for (int64_t j = 0; j < c; j += CHUNK) moments_chunk(x + j, rows, std::min(CHUNK, c - j), c, mean + j, square + j);
  }
  static VISUS_APART void moments_chunk(const T* x, int64_t rows, int64_t width, int64_t c, double* mean, double* square) {
    A k[CHUNK + L], d1[CHUNK + L], d2[CHUNK + L];
    const int64_t step = tile_rows(width);
    for (int64_t t = 0; t < rows; t += step) {
      const int64_t n = std::min(step, rows - t);
      const T* xt = x + t * c;
      for (int64_t j = 0; j < width; j++) k[j] = d1[j] = d2[j] = 0;
      down(n, width, [&](int64_t i, auto many) {
        along(width, [&](int64_t j, auto w) {
          V s = load(k + j);
          for (int r = 0; r < many; r++) s += at(xt + (i + r) * c + j, w);
          store(k + j, s);
        });
      });
      const A share = A(1) / A(n);
      for (int64_t j = 0; j < width; j++) k[j] *= share;
      down(n, width, [&](int64_t i, auto many) {
        along(width, [&](int64_t j, auto w) {
          V m = load(k + j), s1 = load(d1 + j), s2 = load(d2 + j);
          for (int r = 0; r < many; r++) { V d = at(xt + (i + r) * c + j, w) - m; s1 += d; s2 += d * d; }
          store(d1 + j, s1);
          store(d2 + j, s2);
        });
      });
      merge(k, d1, d2, double(n), double(t), width, mean, square);
    }
  }
  static VISUS_INLINE void merge(const A* k, const A* d1, const A* d2, double n, double before, int64_t width, double* mean, double* square) {
    const double inverse = 1.0 / n, share = n / (before + n);
    for (int64_t j = 0; j < width; j++) {
      double m = double(k[j]) + d1[j] * inverse, v = d2[j] - double(d1[j]) * d1[j] * inverse;
      double m0 = before == 0 ? m : mean[j], v0 = before == 0 ? 0.0 : square[j], d = m - m0;
      mean[j] = m0 + d * share;
      square[j] = v0 + v + d * d * before * share;
    }
  }

  static VISUS_INLINE bool streams(const T* p, int64_t c, bool past) {
    return past && c % L == 0 && uintptr_t(p) % (L * sizeof(T)) == 0;
  }

  template <int ACT> static VISUS_APART void apply_rows(const T* x, T* y, int64_t rows, int64_t c, const Wide& k, A alpha, bool past) {
    past = streams(y, c, past);
    down(rows, c, [&](int64_t i, auto many) {
      along(c, [&](int64_t j, auto w) {
        V hi = at(k.hi + j, w), a = at(k.a + j, w), b = at(k.b + j, w);
        for (int r = 0; r < many; r++) {
          const int64_t o = (i + r) * c + j;
          put(y + o, act<ACT>((at(x + o, w) - hi) * a + b, alpha), w, past);
        }
      });
    });
  }

  // Adds to sg[c], sx[c].
  template <int ACT> static VISUS_APART void sums_rows(const T* g, const T* x, int64_t rows, int64_t c, const Wide& k, A alpha, double* sg, double* sx) {
    for (int64_t j = 0; j < c; j += CHUNK) {
      const Wide part = {k.hi + j, k.a + j, k.b + j, k.p + j, k.q + j, k.r + j};
      sums_chunk<ACT>(g + j, x + j, rows, std::min(CHUNK, c - j), c, part, alpha, sg + j, sx + j);
    }
  }
  template <int ACT> static VISUS_APART void sums_chunk(const T* g, const T* x, int64_t rows, int64_t width, int64_t c, const Wide& k, A alpha, double* sg, double* sx) {
    A h0[CHUNK + L], h1[CHUNK + L];
    for (int64_t t = 0; t < rows; t += 64) {
      for (int64_t j = 0; j < width; j++) h0[j] = h1[j] = 0;
      down(std::min<int64_t>(64, rows - t), width, [&](int64_t i, auto many) {
        along(width, [&](int64_t j, auto w) {
          V hi = at(k.hi + j, w), a{}, b{}, s0 = load(h0 + j), s1 = load(h1 + j);
          if constexpr (ACT != NONE) a = at(k.a + j, w), b = at(k.b + j, w);
          for (int r = 0; r < many; r++) {
            const int64_t o = (t + i + r) * c + j;
            V d = at(x + o, w) - hi;
            V h = ACT == NONE ? at(g + o, w) : pull<ACT>(at(g + o, w), d * a + b, alpha);
            s0 += h;
            s1 += h * d;
          }
          store(h0 + j, s0);
          store(h1 + j, s1);
        });
      });
      for (int64_t j = 0; j < width; j++) { sg[j] += h0[j]; sx[j] += h1[j]; }
    }
  }

  template <int ACT> static VISUS_APART void write_rows(const T* g, const T* x, T* dx, int64_t rows, int64_t c, const Wide& k, A alpha, bool past) {
    past = streams(dx, c, past);
    down(rows, c, [&](int64_t i, auto many) {
      along(c, [&](int64_t j, auto w) {
        V hi = at(k.hi + j, w), p = at(k.p + j, w), q = at(k.q + j, w), s = at(k.r + j, w), a{}, b{};
        if constexpr (ACT != NONE) a = at(k.a + j, w), b = at(k.b + j, w);
        for (int r = 0; r < many; r++) {
          const int64_t o = (i + r) * c + j;
          V d = at(x + o, w) - hi;
          V h = ACT == NONE ? at(g + o, w) : pull<ACT>(at(g + o, w), d * a + b, alpha);
          put(dx + o, h * p + (d * q + s), w, past);
        }
      });
    });
  }
};

}  // namespace visus
