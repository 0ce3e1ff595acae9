// The four passes over planes: contiguous ones (numbers by plane), and rows of channels
// (channels-last; numbers by channel).
#pragma once
#include <algorithm>
#include "vector.h"

namespace visus {

constexpr int64_t TILE = 4096;  // numbers that are summed before the sum goes on in float64

constexpr double FAR = 16;  // squares of how far a shift was off, in variances, from which a tile is read again

// Sums stay in registers only where the compiler sees which: loops over them are unrolled, and no
// index of them is left to the run.
#define VISUS_FOUR _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++)
#define VISUS_ROWS _Pragma("GCC unroll 4") for (int r = 0; r < R; r++)
#define VISUS_EACH _Pragma("GCC unroll 4") for (int v = 0; v < W; v++)
#define VISUS_HERE __attribute__((always_inline))

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

  static constexpr int64_t NEXT = 512 / sizeof(T);  // so far on is asked for where several streams are read from memory

  // Ask for what the next cut will read.
  static VISUS_INLINE void soon(const T* p, int64_t ahead) { __builtin_prefetch(p + ahead); }

  // Not before what is at work now leaves the nearest cache.
  static VISUS_INLINE void later(const T* p, int64_t ahead) { __builtin_prefetch(p + ahead, 0, 2); }

  // ---- one contiguous plane ------------------------------------------------------------

  // Where one array, or two, are only read, a long stretch is read in several streams, a part each: the
  // processor's prefetching starts anew at every page (4 kB), and one stream waits for it each time.
  static constexpr int64_t FAR_APART = 8192;  // numbers of a stretch from which that pays
  static VISUS_INLINE int64_t part(int64_t s, int streams) { return s < FAR_APART ? 0 : s / streams / L * L; }

  // One reading of a tile about k, a number near its mean: n numbers, or in each of four streams `apart`
  // from another where that is not 0. Where k was far off, next to how far the numbers spread, the
  // squares have lost digits: the tile, near by now, is read again about its mean.
  // beside(i): what else is done where the four numbers from i on are read, once
  struct Alone {
    VISUS_INLINE void operator()(int64_t) const {}
  };
  template <class F> static VISUS_INLINE void tile(const T* x, int64_t n, int64_t apart, A k, int64_t ahead, Moments& into, F beside) {
    const int64_t step = apart ? L : 4 * L, next = apart ? apart : L, count = apart ? 4 * n : n;
    const double inverse = 1.0 / double(count);
    for (int again = 0;; again++, ahead = 0) {
      V d1[4] = {}, d2[4] = {};
      int64_t i = 0;
      for (; i + step <= n; i += step) {
        VISUS_FOUR { const T* p = x + i + j * next; soon(p, ahead); V d = load(p) - k; d1[j] += d; d2[j] += d * d; }
        if (!again) beside(i);
      }
      for (; i + L <= n; i += L) { V d = load(x + i) - k; d1[0] += d; d2[0] += d * d; }
      if (i < n) { V d = only<A>(load(x + i, int(n - i)) - k, int(n - i)); d1[1] += d; d2[1] += d * d; }
      const double m = total((d1[0] + d1[1]) + (d1[2] + d1[3])), v = total((d2[0] + d2[1]) + (d2[2] + d2[3]));
      const double off = m * m * inverse, square = v - off;
      if (off > FAR * square && !again) { k = A(double(k) + m * inverse); continue; }
      return into.merge(double(count), double(k) + m * inverse, square);
    }
  }
  // The mean of the first numbers.
  static VISUS_INLINE A near(const T* x, int64_t n) {
    if (n < 4 * L) return total(load(x, int(std::min<int64_t>(n, L)))) / A(std::min<int64_t>(n, L));
    return total((load(x) + load(x + L)) + (load(x + 2 * L) + load(x + 3 * L))) / A(4 * L);
  }
  // ahead: how far on the numbers lie that are read next
  static VISUS_APART void moments(const T* x, int64_t s, double& mean, double& var, int64_t ahead = TILE) {
    moments_beside(x, s, mean, var, Alone(), ahead, ahead > TILE ? ahead : 0);
  }
  // beside(i) for i = 0, 4 L, ... up to 4 part(s, 4): another plane's numbers from i on may be written meanwhile
  template <class F> static VISUS_INLINE void moments_beside(const T* x, int64_t s, double& mean, double& var, F beside, int64_t ahead = TILE, int64_t further = NEXT) {
    Moments all;
    const int64_t apart = part(s, 4);
    auto shift = [&] { return all.count ? A(all.mean) : near(x, s); };
    for (int64_t i = 0; i < apart; i += TILE / 4)
      tile(x + i, std::min(TILE / 4, apart - i), apart, shift(), further, all, [&](int64_t o) VISUS_HERE { beside(4 * (i + o)); });
    for (int64_t i = 4 * apart; i < s; i += TILE) tile(x + i, std::min(TILE, s - i), 0, shift(), ahead, all, Alone());
    mean = all.mean;
    var = std::max(all.square, 0.0) / double(s);
    if (all.square != all.square) var = all.square;
  }

  template <int ACT> static VISUS_APART void apply(const T* x, T* y, int64_t s, const Small<A>& k, Bend<A> bend, bool past, int64_t ahead) {
    auto f = [&](V v) { return act<ACT>((v - k.hi) * k.a + k.b, bend); };
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

  // ahead: how far on the plane is that is read next, where they do not lie side by side, or 0:
  // what goes on in memory is asked for by the processor itself, and better.
  template <int ACT> static VISUS_APART void sums(const T* g, const T* x, int64_t s, const Small<A>& k, Bend<A> bend, double& sg, double& sx, int64_t ahead) {
    double tg = 0, tx = 0;
    const int64_t apart = part(s, 2);
    auto stretch = [&](int64_t t, int64_t n, int64_t other, auto far) VISUS_HERE {  // n numbers, or in each of two streams
      const int64_t step = other ? 2 * L : 4 * L, next = other ? other : 2 * L;
      const T *gt = g + t, *xt = x + t;
      V h0[4] = {}, h1[4] = {};
      auto f = [&](V gv, V xv, int j) VISUS_HERE {
        V d = xv - k.hi;
        V h = ACT == NONE ? gv : pull<ACT>(gv, d * k.a + k.b, bend);
        h0[j] += h;
        h1[j] += h * d;
      };
      int64_t i = 0;
      for (; i + step <= n; i += step)
        VISUS_FOUR {
          const int64_t o = i + (j & 1) * L + (j >> 1) * next;
          if (far) soon(gt + o, ahead), soon(xt + o, ahead);
          f(load(gt + o), load(xt + o), j);
        }
      for (; i + L <= n; i += L) {
        f(load(gt + i), load(xt + i), 0);
        if (other) f(load(gt + i + other), load(xt + i + other), 2);
      }
      if (i < n) f(load(gt + i, int(n - i)), only<A>(load(xt + i, int(n - i)), int(n - i)), 3);
      tg += exact((h0[0] + h0[1]) + (h0[2] + h0[3]));
      tx += exact((h1[0] + h1[1]) + (h1[2] + h1[3]));
    };
    for (int64_t t = 0; t < apart; t += TILE / 8) stretch(t, std::min(TILE / 8, apart - t), apart, std::false_type());
    for (int64_t t = 2 * apart; t < s; t += TILE / 4)
      if (ahead) stretch(t, std::min(TILE / 4, s - t), 0, std::true_type()); else stretch(t, std::min(TILE / 4, s - t), 0, std::false_type());
    sg = tg;
    sx = tx;
  }

  template <int ACT> static VISUS_APART void write(const T* g, const T* x, T* dx, int64_t s, const Small<A>& k, Bend<A> bend, bool past, int64_t ahead) {
    auto f = [&](V gv, V xv) VISUS_HERE {
      V d = xv - k.hi;
      V h = ACT == NONE ? gv : pull<ACT>(gv, d * k.a + k.b, bend);
      return h * k.p + (d * k.q + k.r);
    };
    int64_t i = 0;
    if (past) {
      while (i < s && (uintptr_t(dx + i) & (sizeof(T) * L - 1))) i++;
      if (i && i < L) store(dx, f(load(g, int(i)), load(x, int(i))), int(i)); else if (i) { past = false; i = 0; }
    }
    if (ahead)
      for (; i + L <= s; i += L) {
        soon(g + i, ahead), soon(x + i, ahead);
        V v = f(load(g + i), load(x + i));
        if (past) stream(dx + i, v); else store(dx + i, v);
      }
    for (; i + L <= s; i += L) {
      V v = f(load(g + i), load(x + i));
      if (past) stream(dx + i, v); else store(dx + i, v);
    }
    if (i < s) store(dx + i, f(load(g + i, int(s - i)), load(x + i, int(s - i))), int(s - i));
  }

  // ---- planes one after another --------------------------------------------------------
  // Small ones without a call for each.

  // Numbers by plane or by channel, each an array.
  struct Wide {
    const A *hi, *a, *b, *p, *q, *r;
    VISUS_INLINE Small<A> operator()(int64_t c) const { return {hi[c], a[c], b[c], p[c], q[c], r[c]}; }
  };
  static constexpr int64_t SMALL = 16 * L;

  // f(j, i, many) for the vectors of a small plane, by turns j = 0 and 1: many = L, or fewer at the end
  template <class F> static VISUS_INLINE void vectors(int64_t s, F f) {
    int64_t i = 0;
    for (; i + 2 * L <= s; i += 2 * L) { f(0, i, std::integral_constant<int, L>()); f(1, i + L, std::integral_constant<int, L>()); }
    if (i + L <= s) { f(0, i, std::integral_constant<int, L>()); i += L; }
    if (i < s) f(1, i, int(s - i));
  }

  // The same for what is only written, where a number may be written twice: the last L are a whole vector.
  template <class F> static VISUS_INLINE void covering(int64_t s, F f) {
    int64_t i = 0;
    for (; i + 2 * L <= s; i += 2 * L) { f(0, i, std::integral_constant<int, L>()); f(1, i + L, std::integral_constant<int, L>()); }
    if (i + L <= s) { f(0, i, std::integral_constant<int, L>()); i += L; }
    if (i < s && s >= L) f(1, s - L, std::integral_constant<int, L>()); else if (i < s) f(1, i, int(s - i));
  }

  static void moments_planes(const T* x, int64_t planes, int64_t s, double* mean, double* var, int64_t ahead) {
    if (s <= SMALL) return small_moments(x, planes, s, mean, var, ahead);
    for (int64_t c = 0; c < planes; c++) moments(x + c * s, s, mean[c], var[c], ahead);
  }
  template <int ACT> static void apply_planes(const T* x, T* y, int64_t planes, int64_t s, const Wide& k, Bend<A> bend, bool past, int64_t ahead) {
    if (s <= SMALL) return small_apply<ACT>(x, y, planes, s, k, bend, past, ahead);
    for (int64_t c = 0; c < planes; c++) apply<ACT>(x + c * s, y + c * s, s, k(c), bend, past, ahead);
  }
  template <int ACT> static void sums_planes(const T* g, const T* x, int64_t planes, int64_t s, const Wide& k, Bend<A> bend, double* sg, double* sx, int64_t ahead) {
    if (s <= SMALL) return small_sums<ACT>(g, x, planes, s, k, bend, sg, sx, ahead);
    for (int64_t c = 0; c < planes; c++) sums<ACT>(g + c * s, x + c * s, s, k(c), bend, sg[c], sx[c], ahead);
  }
  template <int ACT> static void write_planes(const T* g, const T* x, T* dx, int64_t planes, int64_t s, const Wide& k, Bend<A> bend, bool past, int64_t ahead) {
    if (s <= SMALL) return small_write<ACT>(g, x, dx, planes, s, k, bend, past, ahead);
    for (int64_t c = 0; c < planes; c++) write<ACT>(g + c * s, x + c * s, dx + c * s, s, k(c), bend, past, ahead);
  }

  // ---- small planes: without a call for each, their sums folded four at a time -----------
  // Where fewer than four are left, the last one stands in for those that are not there: arrays of sums
  // that are set in every case need no zeros (GCC clears them by `rep stos`, which took a third of the time).

  static VISUS_INLINE void keep(Some<double> v, double* into, int64_t many) {
    if (many >= 4) memcpy(into, &v, sizeof v); else for (int64_t k = 0; k < many; k++) into[k] = v[k];
  }

  static VISUS_APART void small_moments(const T* x, int64_t planes, int64_t s, double* mean, double* var, int64_t ahead) {
    const A share = A(1) / A(s);
    const double inverse = 1.0 / double(s);
    for (int64_t c = 0; c < planes; c += 4) {
      V t[4], d1[4], d2[4];
      for (int64_t k = 0; k < 4; k++) {
        const T* from = x + std::min(c + k, planes - 1) * s;
        V u[2] = {};
        vectors(s, [&](int j, int64_t i, auto w) VISUS_HERE { if (j == 0) soon(from + i, ahead); u[j] += at(from + i, w); });
        t[k] = u[0] + u[1];
      }
      const Some<A> shift = fold(t) * share;
      for (int64_t k = 0; k < 4; k++) {
        const T* from = x + std::min(c + k, planes - 1) * s;
        const V mine = all(shift[k]);
        V u1[2] = {}, u2[2] = {};
        vectors(s, [&](int j, int64_t i, auto w) VISUS_HERE {
          V d = at(from + i, w) - mine;
          if constexpr (std::is_same_v<decltype(w), int>) d = only<A>(d, w);
          u1[j] += d;
          u2[j] += d * d;
        });
        d1[k] = u1[0] + u1[1], d2[k] = u2[0] + u2[1];
      }
      const Some<double> low = wider(fold(d1)) * inverse, v = wider(fold(d2)) * inverse - low * low;
      keep(wider(shift) + low, mean + c, planes - c);
      keep(v < 0 ? Some<double>{} : v, var + c, planes - c);
    }
  }

  template <int ACT> static VISUS_APART void small_apply(const T* x, T* y, int64_t planes, int64_t s, const Wide& of, Bend<A> bend, bool past, int64_t ahead) {
    past = streams(y, s, past);
    for (int64_t c = 0; c < planes; c++, x += s, y += s) {
      const V hi = all(of.hi[c]), a = all(of.a[c]), b = all(of.b[c]);
      covering(s, [&](int j, int64_t i, auto w) VISUS_HERE {
        if (j == 0) soon(x + i, ahead);
        put(y + i, act<ACT>((at(x + i, w) - hi) * a + b, bend), w, past);
      });
    }
  }

  template <int ACT> static VISUS_APART void small_sums(const T* g, const T* x, int64_t planes, int64_t s, const Wide& of, Bend<A> bend, double* sg, double* sx, int64_t ahead) {
    for (int64_t c = 0; c < planes; c += 4) {
      V t0[4], t1[4];
      for (int64_t k = 0; k < 4; k++) {
        const int64_t mine = std::min(c + k, planes - 1);
        const T *xr = x + mine * s, *gr = g + mine * s;
        const V hi = all(of.hi[mine]), a = all(of.a[mine]), b = all(of.b[mine]);
        V h0[2] = {}, h1[2] = {};
        vectors(s, [&](int j, int64_t i, auto w) VISUS_HERE {
          if (j == 0) soon(xr + i, ahead), soon(gr + i, ahead);
          V d = at(xr + i, w) - hi, v = at(gr + i, w);
          V h = ACT == NONE ? v : pull<ACT>(v, d * a + b, bend);
          h0[j] += h;
          h1[j] += h * d;
        });
        t0[k] = h0[0] + h0[1], t1[k] = h1[0] + h1[1];
      }
      keep(wider(fold(t0)), sg + c, planes - c);
      keep(wider(fold(t1)), sx + c, planes - c);
    }
  }

  template <int ACT> static VISUS_APART void small_write(const T* g, const T* x, T* dx, int64_t planes, int64_t s, const Wide& of, Bend<A> bend, bool past, int64_t ahead) {
    past = streams(dx, s, past);
    for (int64_t c = 0; c < planes; c++, x += s, g += s, dx += s) {
      const V hi = all(of.hi[c]), a = all(of.a[c]), b = all(of.b[c]), p = all(of.p[c]), q = all(of.q[c]), r = all(of.r[c]);
      covering(s, [&](int j, int64_t i, auto w) VISUS_HERE {
        if (j == 0) soon(x + i, ahead), soon(g + i, ahead);
        V d = at(x + i, w) - hi, v = at(g + i, w);
        V h = ACT == NONE ? v : pull<ACT>(v, d * a + b, bend);
        put(dx + i, h * p + (d * q + r), w, past);
      });
    }
  }

  // ---- what rows and planes share --------------------------------------------------------

  // f(j, many): many = L, or fewer at the end
  template <class F> static VISUS_INLINE void along(int64_t c, F f) {
    int64_t j = 0;
    for (; j + L <= c; j += L) f(j, std::integral_constant<int, L>());
    if (j < c) f(j, int(c - j));
  }
  template <class F> static VISUS_INLINE void between(int64_t j, int64_t end, F f) {
    for (; j + L <= end; j += L) f(j, std::integral_constant<int, L>());
    if (j < end) f(j, int(end - j));
  }
  template <class P, class N> static VISUS_INLINE V at(const P* p, N n) {
    if constexpr (std::is_same_v<N, int>) return load(p, n); else return load(p);
  }
  template <class P, class N> static VISUS_INLINE void put(P* p, V v, N n, bool past) {
    if constexpr (std::is_same_v<N, int>) store(p, v, n); else if (past) stream(p, v); else store(p, v);
  }
  static VISUS_INLINE bool streams(const T* p, int64_t c, bool past) {
    return past && c % L == 0 && uintptr_t(p) % (L * sizeof(T)) == 0;
  }
};

}  // namespace visus
