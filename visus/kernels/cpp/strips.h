// Rows of C channels (channels-last; numbers by channel): the passes go by tiles of rows, and in
// a tile by strips of channels whose numbers and sums stay in registers while the rows go by.
#pragma once
#include "planes.h"

namespace visus {

template <class T> struct Strips : Planes<T> {
  typedef Planes<T> P;
  typedef typename P::A A;
  typedef typename P::V V;
  typedef typename P::Wide Wide;
  static constexpr int L = P::L;
  static constexpr int WIDEST = BYTES == 64 ? 4 : 2;  // vectors of a strip, as the registers allow
  static constexpr int FIRST = 16;                    // rows whose mean is the first shift

  template <int W, class N> struct Strip { static constexpr int w = W; N n; };

  // f(first channel, strip): strips of WIDEST vectors, then of one, then the end of the row
  template <class F> static VISUS_INLINE void across(int64_t c, F f) {
    int64_t j = 0;
    for (; j + WIDEST * L <= c; j += WIDEST * L) f(j, Strip<WIDEST, std::integral_constant<int, L>>());
    for (; j + L <= c; j += L) f(j, Strip<1, std::integral_constant<int, L>>());
    if (j < c) f(j, Strip<1, int>{int(c - j)});
  }
  // Rows of a tile of so many bytes: what is read fits beside the next tile in the L2 cache, what is
  // written leaves nearly in its order. Strips jump from row to row, which no prefetcher follows: they
  // ask for a later tile themselves, and line by line as it lies in memory.
  static int64_t tile_rows(int64_t c, int64_t bytes, int64_t least, int64_t most) {
    return std::max(least, std::min(most, bytes / (c * int64_t(sizeof(T)))));
  }
  static constexpr int64_t WRITTEN = 8192, LATER = 4;  // bytes of a tile that is written; tiles ahead
  static VISUS_INLINE void next(const T* p) { __builtin_prefetch(p, 0, 2); }

  // mean[c], square[c] over the rows. A tile is shifted by the mean of all before it, so that its
  // sums of squares lose nothing by their mean; a jump between tiles is a part of the variance.
  static VISUS_APART void moments_rows(const T* x, int64_t rows, int64_t c, double* mean, double* square) {
    const int64_t step = tile_rows(c, 65536, FIRST, 256);
    for (int64_t t = 0; t < rows; t += step) {
      const int64_t n = std::min(step, rows - t);
      across(c, [&](int64_t j, auto s) { moments_strip(x + t * c + j, x + (t + step) * c + j * n, n, c, t, s, mean + j, square + j); });
    }
  }
  template <class S> static VISUS_INLINE void moments_strip(const T* x, const T* later, int64_t rows, int64_t c, int64_t before, S s, double* mean, double* square) {
    constexpr int W = S::w;
    V k[W] = {}, d1[W] = {}, d2[W] = {}, e1[W] = {}, e2[W] = {};
    A out[3][W * L];
    if (before) {
      for (int i = 0; i < W * L; i++) out[0][i] = i < width(s) ? A(mean[i]) : A(0);
      VISUS_EACH k[v] = load(out[0] + v * L);
    } else {
      const int64_t few = std::min<int64_t>(FIRST, rows);
      for (int64_t i = 0; i < few; i++) VISUS_EACH k[v] += P::at(x + i * c + v * L, s.n);
      VISUS_EACH k[v] *= A(1) / A(few);
    }
    auto row = [&](int64_t i, V* t1, V* t2) VISUS_HERE {
      VISUS_EACH {
        next(later + (i * W + v) * L);
        V d = P::at(x + i * c + v * L, s.n) - k[v];
        t1[v] += d;
        t2[v] += d * d;
      }
    };
    int64_t at = 0;  // rows by turns into two sums, each of which loses less
    for (; at + 2 <= rows; at += 2) row(at, d1, d2), row(at + 1, e1, e2);
    if (at < rows) row(at, d1, d2);
    VISUS_EACH { d1[v] += e1[v]; d2[v] += e2[v]; }
    VISUS_EACH { store(out[0] + v * L, k[v]); store(out[1] + v * L, d1[v]); store(out[2] + v * L, d2[v]); }
    const double n = double(rows), inverse = 1.0 / n, share = n / (double(before) + n), weight = double(before) * share;
    for (int i = 0; i < width(s); i++) {
      const double sum = out[1][i], m = double(out[0][i]) + sum * inverse, q = double(out[2][i]) - sum * sum * inverse;
      const double m0 = before ? mean[i] : m, v0 = before ? square[i] : 0.0, d = m - m0;
      mean[i] = m0 + d * share;
      square[i] = v0 + (q < 0 ? 0.0 : q) + d * d * weight;
    }
  }
  template <int W> static constexpr int width(Strip<W, std::integral_constant<int, L>>) { return W * L; }
  static VISUS_INLINE int width(Strip<1, int> s) { return s.n; }

  template <int ACT> static VISUS_APART void apply_rows(const T* x, T* y, int64_t rows, int64_t c, const Wide& k, Bend<A> bend, bool past) {
    past = P::streams(y, c, past);
    const int64_t step = tile_rows(c, WRITTEN, 8, 256);
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

  // Adds to sg[c], sx[c].
  template <int ACT> static VISUS_APART void sums_rows(const T* g, const T* x, int64_t rows, int64_t c, const Wide& k, Bend<A> bend, double* sg, double* sx) {
    const int64_t step = tile_rows(c, 32768, FIRST, 64);
    for (int64_t t = 0; t < rows; t += step) {
      const int64_t end = std::min(rows, t + step);
      across(c, [&](int64_t j, auto s) {
        constexpr int W = decltype(s)::w;
        const int64_t later = (t + step) * c + j * (end - t);
        V hi[W], a[W], b[W], h0[W] = {}, h1[W] = {};
        VISUS_EACH { hi[v] = P::at(k.hi + j + v * L, s.n); a[v] = P::at(k.a + j + v * L, s.n); b[v] = P::at(k.b + j + v * L, s.n); }
        for (int64_t i = t; i < end; i++)
          VISUS_EACH {
            const int64_t o = i * c + j + v * L;
            next(x + later + ((i - t) * W + v) * L);
            next(g + later + ((i - t) * W + v) * L);
            V d = P::at(x + o, s.n) - hi[v], u = P::at(g + o, s.n);
            V h = ACT == NONE ? u : pull<ACT>(u, d * a[v] + b[v], bend);
            h0[v] += h;
            h1[v] += h * d;
          }
        A out[2][W * L];
        VISUS_EACH { store(out[0] + v * L, h0[v]); store(out[1] + v * L, h1[v]); }
        for (int i = 0; i < width(s); i++) { sg[j + i] += out[0][i]; sx[j + i] += out[1][i]; }
      });
    }
  }

  template <int ACT> static VISUS_APART void write_rows(const T* g, const T* x, T* dx, int64_t rows, int64_t c, const Wide& k, Bend<A> bend, bool past) {
    past = P::streams(dx, c, past);
    const int64_t step = tile_rows(c, WRITTEN, 8, 64);
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
