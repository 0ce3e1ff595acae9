// Rows of C channels (channels-last; numbers by channel). What is only read goes by in four streams of
// whole rows, sums in the nearest cache; what is written by tiles of rows, and in a tile by strips of
// channels whose numbers stay in registers while the rows go by.
#pragma once
#include "planes.h"

namespace visus {

template <class T> struct Strips : Planes<T> {
  typedef Planes<T> P;
  typedef typename P::A A;
  typedef typename P::V V;
  typedef typename P::Wide Wide;
  static constexpr int L = P::L;
  // ---- readings ------------------------------------------------------------------------

  static constexpr int64_t FIRST = 16;  // rows whose mean is the first shift
  static constexpr int64_t MANY = 512;  // channels whose sums lie in the nearest cache
  static constexpr int64_t ROUND = 32;  // times four rows that are summed before the sum goes on in float64

  // Rows that are summed together: n times four of them, `apart` from another and then `step` on, and
  // `rest` more (up to 3) from `end` on. A long stretch is read in four streams, see FAR_APART.
  struct Round { int64_t row, n, step, apart, end, rest; };
  template <class F> static VISUS_INLINE void rounds(int64_t rows, int64_t c, F f) {
    const int64_t four = rows / 4, once = std::max<int64_t>(1, four);
    const bool far = rows * c >= P::FAR_APART;
    for (int64_t t = 0; t < once; t += ROUND) {
      const int64_t n = std::min(ROUND, four - t);
      f(Round{far ? t : 4 * t, n, far ? c : 4 * c, far ? four * c : c, 4 * four, t + ROUND < once ? 0 : rows % 4});
    }
  }
  // f(first channel, how many): sets whose sums fit
  template <class F> static VISUS_INLINE void sets(int64_t c, F f) {
    for (int64_t j = 0; j < c; j += MANY) f(j, std::min(MANY, c - j));
  }
  // f(place from x on, place of the rows in it, R) for the rows of a round
  template <class F> static VISUS_INLINE void each(const Round& o, int64_t c, F f) {
    for (int64_t i = 0; i < o.n; i++) f(o.row * c + i * o.step, o.apart, std::integral_constant<int, 4>());
    for (int64_t i = 0; i < o.rest; i++) f((o.end + i) * c, int64_t(0), std::integral_constant<int, 1>());
  }

  // mean[c], square[c] over the rows. A round is shifted by the mean of all before it, so that its
  // sums of squares lose nothing by their mean; a jump between rounds is a part of the variance.
  static VISUS_APART void moments_rows(const T* x, int64_t rows, int64_t c, double* mean, double* square) {
    double before = 0;
    rounds(rows, c, [&](const Round& o) {
      sets(c, [&](int64_t j, int64_t wide) { moments_round(x + j, o, rows, c, wide, before, mean + j, square + j); });
      before += double(4 * o.n + o.rest);
    });
  }
  static void moments_round(const T* x, const Round& o, int64_t rows, int64_t c, int64_t wide, double before, double* mean, double* square) {
    A k[MANY], d1[MANY], d2[MANY];
    if (before) for (int64_t j = 0; j < wide; j++) k[j] = A(mean[j]);
    const int64_t few = std::min(FIRST, rows);
    P::along(wide, [&](int64_t j, auto w) VISUS_HERE {
      store(d1 + j, V{}), store(d2 + j, V{});
      V sum = {};
      for (int64_t i = 0; i < few && !before; i++) sum += P::at(x + i * c + j, w);
      store(k + j, before ? P::at(k + j, w) : sum * (A(1) / A(few)));
    });
    each(o, c, [&](int64_t at, int64_t apart, auto many) VISUS_HERE {
      constexpr int R = decltype(many)::value;
      P::along(wide, [&](int64_t j, auto w) VISUS_HERE {
        const V shift = load(k + j);
        V s1 = {}, s2 = {};
        VISUS_ROWS { V d = P::at(x + at + r * apart + j, w) - shift; s1 += d; s2 += d * d; }
        store(d1 + j, load(d1 + j) + s1), store(d2 + j, load(d2 + j) + s2);
      });
    });
    const double here = double(4 * o.n + o.rest), inverse = 1.0 / here, share = here / (before + here), weight = before * share;
    if (!before) for (int64_t i = 0; i < wide; i++) mean[i] = square[i] = 0;
#pragma omp simd
    for (int64_t i = 0; i < wide; i++) {
      const double sum = d1[i], m = double(k[i]) + sum * inverse, q = double(d2[i]) - sum * sum * inverse, d = m - mean[i];
      mean[i] += d * share;
      square[i] += (q < 0 ? 0.0 : q) + d * d * weight;
    }
  }

  // Adds to sg[c], sx[c].
  template <int ACT> static VISUS_APART void sums_rows(const T* g, const T* x, int64_t rows, int64_t c, const Wide& k, Bend<A> bend, double* sg, double* sx) {
    rounds(rows, c, [&](const Round& o) {
      sets(c, [&](int64_t j, int64_t wide) {
        sums_round<ACT>(g + j, x + j, o, c, wide, Wide{k.hi + j, k.a + j, k.b + j, nullptr, nullptr, nullptr}, bend, sg + j, sx + j);
      });
    });
  }
  template <int ACT> static void sums_round(const T* g, const T* x, const Round& o, int64_t c, int64_t wide, const Wide& k, Bend<A> bend, double* sg, double* sx) {
    A h0[MANY], h1[MANY];
    P::along(wide, [&](int64_t j, auto) VISUS_HERE { store(h0 + j, V{}), store(h1 + j, V{}); });
    each(o, c, [&](int64_t at, int64_t apart, auto many) VISUS_HERE {
      constexpr int R = decltype(many)::value;
      P::along(wide, [&](int64_t j, auto w) VISUS_HERE {
        const V hi = P::at(k.hi + j, w), a = ACT == NONE ? V{} : P::at(k.a + j, w), b = ACT == NONE ? V{} : P::at(k.b + j, w);
        V s0 = {}, s1 = {};
        VISUS_ROWS {
          V d = P::at(x + at + r * apart + j, w) - hi, u = P::at(g + at + r * apart + j, w);
          V h = ACT == NONE ? u : pull<ACT>(u, d * a + b, bend);
          s0 += h;
          s1 += h * d;
        }
        store(h0 + j, load(h0 + j) + s0), store(h1 + j, load(h1 + j) + s1);
      });
    });
#pragma omp simd
    for (int64_t i = 0; i < wide; i++) sg[i] += double(h0[i]), sx[i] += double(h1[i]);
  }

  // ---- writes --------------------------------------------------------------------------

  static constexpr int WIDEST = BYTES == 64 ? 4 : 2;  // vectors of a strip, as the registers allow

  template <int W, class N> struct Strip { static constexpr int w = W; N n; };

  // f(first channel, strip): strips of WIDEST vectors, then of one, then the end of the row
  template <class F> static VISUS_INLINE void across(int64_t c, F f) {
    int64_t j = 0;
    for (; j + WIDEST * L <= c; j += WIDEST * L) f(j, Strip<WIDEST, std::integral_constant<int, L>>());
    for (; j + L <= c; j += L) f(j, Strip<1, std::integral_constant<int, L>>());
    if (j < c) f(j, Strip<1, int>{int(c - j)});
  }
  // Rows of a tile of about WRITTEN bytes, which leaves nearly in its order. Strips jump from row to row,
  // which no prefetcher follows: they ask for a later tile themselves, line by line as it lies in memory.
  static constexpr int64_t WRITTEN = 8192, LATER = 4;  // LATER: how many tiles ahead
  static int64_t tile_rows(int64_t c, int64_t most) { return std::max<int64_t>(8, std::min(most, WRITTEN / (c * int64_t(sizeof(T))))); }
  static VISUS_INLINE void next(const T* p) { __builtin_prefetch(p, 0, 2); }

  template <int ACT> static VISUS_APART void apply_rows(const T* x, T* y, int64_t rows, int64_t c, const Wide& k, Bend<A> bend, bool past) {
    past = P::streams(y, c, past);
    const int64_t step = tile_rows(c, 256);
    for (int64_t t = 0; t < rows; t += step) {
      const int64_t end = std::min(rows, t + step);
      across(c, [&](int64_t j, auto s) {
        constexpr int W = decltype(s)::w;
        const int64_t later = (t + LATER * step) * c + j * (end - t);
        V hi[W], a[W], b[W];
        VISUS_EACH { hi[v] = P::at(k.hi + j + v * L, s.n); a[v] = P::at(k.a + j + v * L, s.n); b[v] = P::at(k.b + j + v * L, s.n); }
        for (int64_t i = t; i < end; i++)
          VISUS_EACH {
            const int64_t o = i * c + j + v * L;
            next(x + later + ((i - t) * W + v) * L);
            P::put(y + o, act<ACT>((P::at(x + o, s.n) - hi[v]) * a[v] + b[v], bend), s.n, past);
          }
      });
    }
  }

  template <int ACT> static VISUS_APART void write_rows(const T* g, const T* x, T* dx, int64_t rows, int64_t c, const Wide& k, Bend<A> bend, bool past) {
    past = P::streams(dx, c, past);
    const int64_t step = tile_rows(c, 64);
    for (int64_t t = 0; t < rows; t += step) {
      const int64_t end = std::min(rows, t + step);
      across(c, [&](int64_t j, auto s) {
        constexpr int W = decltype(s)::w;
        const int64_t later = (t + LATER * step) * c + j * (end - t);
        V hi[W], a[W], b[W], p[W], q[W], r[W];
        VISUS_EACH { hi[v] = P::at(k.hi + j + v * L, s.n); a[v] = P::at(k.a + j + v * L, s.n); b[v] = P::at(k.b + j + v * L, s.n); }
        VISUS_EACH { p[v] = P::at(k.p + j + v * L, s.n); q[v] = P::at(k.q + j + v * L, s.n); r[v] = P::at(k.r + j + v * L, s.n); }
        for (int64_t i = t; i < end; i++)
          VISUS_EACH {
            const int64_t o = i * c + j + v * L;
            next(x + later + ((i - t) * W + v) * L);
            next(g + later + ((i - t) * W + v) * L);
            V d = P::at(x + o, s.n) - hi[v], u = P::at(g + o, s.n);
            V h = ACT == NONE ? u : pull<ACT>(u, d * a[v] + b[v], bend);
            P::put(dx + o, h * p[v] + (d * q[v] + r[v]), s.n, past);
          }
      });
    }
  }
};

}  // namespace visus
