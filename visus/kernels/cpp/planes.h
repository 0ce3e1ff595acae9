// The four passes over planes: contiguous ones (numbers by plane), and rows of channels
// (channels-last; numbers by channel).
#pragma once
#include <algorithm>
#include "vector.h"

namespace visus {

constexpr int64_t TILE = 4096;  // numbers that are summed before the sum goes on in float64
constexpr int64_t AHEAD = 512;  // numbers that a read is ahead of its use

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

// The numbers of a plane, or of the channels of a row: y = act((x - hi - lo) a + b).
template <class A> struct Small { A hi, lo, a, b, p, q, r; };

template <class T> struct Planes {
  typedef typename Of<T>::A A;
  typedef typename Of<T>::V V;
  static constexpr int L = lanes<A>;

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

  template <int ACT> static VISUS_APART void apply(const T* x, T* y, int64_t s, const Small<A>& k, A alpha, bool past) {
    auto f = [&](V v) { return act<ACT>(((v - k.hi) - k.lo) * k.a + k.b, alpha); };
    int64_t i = 0;
    if (past) {
      while (i < s && (uintptr_t(y + i) & (sizeof(T) * L - 1))) i++;
      if (i && i < L) store(y, f(load(x, int(i))), int(i)); else if (i) { past = false; i = 0; }
    }
    if (past) for (; i + L <= s; i += L) stream(y + i, f(load(x + i)));
    for (; i + 2 * L <= s; i += 2 * L) {
      V u = f(load(x + i)), v = f(load(x + i + L));
      store(y + i, u);
      store(y + i + L, v);
    }
    for (; i + L <= s; i += L) store(y + i, f(load(x + i)));
    if (i < s) store(y + i, f(load(x + i, int(s - i))), int(s - i));
  }

  template <int ACT> static VISUS_APART void sums(const T* g, const T* x, int64_t s, const Small<A>& k, A alpha, double& sg, double& sx) {
    double tg = 0, tx = 0;
    for (int64_t t = 0; t < s; t += TILE) {
      int64_t n = std::min(TILE, s - t), i = 0;
      const T *gt = g + t, *xt = x + t;
      V h0[2] = {}, h1[2] = {};
      auto f = [&](V gv, V xv, int j) {
        V d = (xv - k.hi) - k.lo;
        V h = ACT == NONE ? gv : pull<ACT>(gv, d * k.a + k.b, alpha);
        h0[j] += h;
        h1[j] += h * d;
      };
      for (; i + 2 * L <= n; i += 2 * L) { f(load(gt + i), load(xt + i), 0); f(load(gt + i + L), load(xt + i + L), 1); }
      for (; i + L <= n; i += L) f(load(gt + i), load(xt + i), 0);
      if (i < n) f(load(gt + i, int(n - i)), only<A>(load(xt + i, int(n - i)), int(n - i)), 1);
      tg += total(h0[0] + h0[1]);
      tx += total(h1[0] + h1[1]);
    }
    sg = tg;
    sx = tx;
  }

  template <int ACT> static VISUS_APART void write(const T* g, const T* x, T* dx, int64_t s, const Small<A>& k, A alpha, bool past) {
    auto f = [&](V gv, V xv) {
      V d = (xv - k.hi) - k.lo;
      V h = ACT == NONE ? gv : pull<ACT>(gv, d * k.a + k.b, alpha);
      return h * k.p + (d * k.q + k.r);
    };
    int64_t i = 0;
    if (past) {
      while (i < s && (uintptr_t(dx + i) & (sizeof(T) * L - 1))) i++;
      if (i && i < L) store(dx, f(load(g, int(i)), load(x, int(i))), int(i)); else if (i) { past = false; i = 0; }
    }
    if (past) for (; i + L <= s; i += L) stream(dx + i, f(load(g + i), load(x + i)));
    for (; i + L <= s; i += L) store(dx + i, f(load(g + i), load(x + i)));
    if (i < s) store(dx + i, f(load(g + i, int(s - i)), load(x + i, int(s - i))), int(s - i));
  }

  // ---- rows of C channels --------------------------------------------------------------

  // Numbers by channel, each an array over c.
  struct Wide { const A *hi, *lo, *a, *b, *p, *q, *r; };

  static int64_t tile_rows(int64_t c) { return std::max<int64_t>(8, std::min<int64_t>(256, 8192 / c)); }

  // mean[c], square[c] over the rows; the columns of a tile are held in registers.
  static VISUS_APART void moments_rows(const T* x, int64_t rows, int64_t c, double* mean, double* square) {
    int64_t step = tile_rows(c);
    for (int64_t t = 0; t < rows; t += step) {
      int64_t n = std::min(step, rows - t), j = 0;
      const T* xt = x + t * c;
      for (; j + 4 * L <= c; j += 4 * L) columns<4>(xt + j, n, c, 4 * L, double(t), mean + j, square + j);
      for (; j + L <= c; j += L) columns<1>(xt + j, n, c, L, double(t), mean + j, square + j);
      if (j < c) columns<1>(xt + j, n, c, int(c - j), double(t), mean + j, square + j);
    }
  }
  template <int W> static VISUS_INLINE void columns(const T* x, int64_t n, int64_t c, int width, double before, double* mean, double* square) {
    bool full = width == W * L;
    auto at = [&](const T* p) { return full ? load(p) : load(p, width); };
    V s[W] = {}, k[W], d1[W] = {}, d2[W] = {};
    for (int64_t i = 0; i < n; i++)
      for (int j = 0; j < W; j++) s[j] += at(x + i * c + j * L);
    for (int j = 0; j < W; j++) k[j] = s[j] / A(n);
    for (int64_t i = 0; i < n; i++)
      for (int j = 0; j < W; j++) { V d = at(x + i * c + j * L) - k[j]; d1[j] += d; d2[j] += d * d; }
    A kk[W * L], m1[W * L], m2[W * L];
    for (int j = 0; j < W; j++) { store(kk + j * L, k[j]); store(m1 + j * L, d1[j]); store(m2 + j * L, d2[j]); }
    double inverse = 1.0 / double(n), share = double(n) / (before + double(n));
    for (int j = 0; j < width; j++) {
      double m = double(kk[j]) + m1[j] * inverse, v = m2[j] - double(m1[j]) * m1[j] * inverse;
      if (before == 0) { mean[j] = m; square[j] = v; continue; }
      double d = m - mean[j];
      mean[j] += d * share;
      square[j] += v + d * d * before * share;
    }
  }

  template <int ACT> static VISUS_APART void apply_rows(const T* x, T* y, int64_t rows, int64_t c, const Wide& k, A alpha, bool past) {
    past = past && (c * sizeof(T)) % (L * sizeof(T)) == 0 && uintptr_t(y) % (L * sizeof(T)) == 0;
    int64_t step = tile_rows(c);
    for (int64_t t = 0; t < rows; t += step) {
      int64_t n = std::min(step, rows - t), j = 0;
      const T* xt = x + t * c;
      T* yt = y + t * c;
      for (; j + 4 * L <= c; j += 4 * L) apply_columns<ACT, 4>(xt + j, yt + j, n, c, 4 * L, k, j, alpha, past);
      for (; j + L <= c; j += L) apply_columns<ACT, 1>(xt + j, yt + j, n, c, L, k, j, alpha, past);
      if (j < c) apply_columns<ACT, 1>(xt + j, yt + j, n, c, int(c - j), k, j, alpha, false);
    }
  }
  template <int ACT, int W> static VISUS_INLINE void apply_columns(const T* x, T* y, int64_t n, int64_t c, int width, const Wide& k, int64_t j0, A alpha, bool past) {
    bool full = width == W * L;
    V hi[W], lo[W], a[W], b[W];
    for (int j = 0; j < W; j++) {
      auto at = [&](const A* p) { return full ? load(p + j0 + j * L) : load(p + j0, width); };
      hi[j] = at(k.hi), lo[j] = at(k.lo), a[j] = at(k.a), b[j] = at(k.b);
    }
    auto f = [&](V v, int j) { return act<ACT>(((v - hi[j]) - lo[j]) * a[j] + b[j], alpha); };
    if (!full)
      for (int64_t i = 0; i < n; i++) store(y + i * c, f(load(x + i * c, width), 0), width);
    else if (past)
      for (int64_t i = 0; i < n; i++)
        for (int j = 0; j < W; j++) stream(y + i * c + j * L, f(load(x + i * c + j * L), j));
    else
      for (int64_t i = 0; i < n; i++)
        for (int j = 0; j < W; j++) store(y + i * c + j * L, f(load(x + i * c + j * L), j));
  }

  // Adds to sg[c], sx[c].
  template <int ACT> static VISUS_APART void sums_rows(const T* g, const T* x, int64_t rows, int64_t c, const Wide& k, A alpha, double* sg, double* sx) {
    int64_t step = tile_rows(c);
    for (int64_t t = 0; t < rows; t += step) {
      int64_t n = std::min(step, rows - t), j = 0;
      const T *gt = g + t * c, *xt = x + t * c;
      for (; j + 2 * L <= c; j += 2 * L) sum_columns<ACT, 2>(gt + j, xt + j, n, c, 2 * L, k, j, alpha, sg + j, sx + j);
      for (; j + L <= c; j += L) sum_columns<ACT, 1>(gt + j, xt + j, n, c, L, k, j, alpha, sg + j, sx + j);
      if (j < c) sum_columns<ACT, 1>(gt + j, xt + j, n, c, int(c - j), k, j, alpha, sg + j, sx + j);
    }
  }
  template <int ACT, int W> static VISUS_INLINE void sum_columns(const T* g, const T* x, int64_t n, int64_t c, int width, const Wide& k, int64_t j0, A alpha, double* sg, double* sx) {
    bool full = width == W * L;
    V hi[W], lo[W], a[W], b[W], h0[W] = {}, h1[W] = {};
    for (int j = 0; j < W; j++) {
      auto at = [&](const A* p) { return full ? load(p + j0 + j * L) : load(p + j0, width); };
      hi[j] = at(k.hi), lo[j] = at(k.lo), a[j] = at(k.a), b[j] = at(k.b);
    }
    for (int64_t i = 0; i < n; i++)
      for (int j = 0; j < W; j++) {
        auto at = [&](const T* p) { return full ? load(p + i * c + j * L) : load(p + i * c, width); };
        V d = (at(x) - hi[j]) - lo[j];
        V h = ACT == NONE ? at(g) : pull<ACT>(at(g), d * a[j] + b[j], alpha);
        h0[j] += h;
        h1[j] += h * d;
      }
    A s0[W * L], s1[W * L];
    for (int j = 0; j < W; j++) { store(s0 + j * L, h0[j]); store(s1 + j * L, h1[j]); }
    for (int j = 0; j < width; j++) { sg[j] += s0[j]; sx[j] += s1[j]; }
  }

  template <int ACT> static VISUS_APART void write_rows(const T* g, const T* x, T* dx, int64_t rows, int64_t c, const Wide& k, A alpha, bool past) {
    past = past && (c * sizeof(T)) % (L * sizeof(T)) == 0 && uintptr_t(dx) % (L * sizeof(T)) == 0;
    int64_t step = tile_rows(c);
    for (int64_t t = 0; t < rows; t += step) {
      int64_t n = std::min(step, rows - t), j = 0, o = t * c;
      for (; j + 2 * L <= c; j += 2 * L) write_columns<ACT, 2>(g + o + j, x + o + j, dx + o + j, n, c, 2 * L, k, j, alpha, past);
      for (; j + L <= c; j += L) write_columns<ACT, 1>(g + o + j, x + o + j, dx + o + j, n, c, L, k, j, alpha, past);
      if (j < c) write_columns<ACT, 1>(g + o + j, x + o + j, dx + o + j, n, c, int(c - j), k, j, alpha, false);
    }
  }
  template <int ACT, int W> static VISUS_INLINE void write_columns(const T* g, const T* x, T* dx, int64_t n, int64_t c, int width, const Wide& k, int64_t j0, A alpha, bool past) {
    bool full = width == W * L;
    V hi[W], lo[W], a[W], b[W], p[W], q[W], r[W];
    for (int j = 0; j < W; j++) {
      auto at = [&](const A* v) { return full ? load(v + j0 + j * L) : load(v + j0, width); };
      hi[j] = at(k.hi), lo[j] = at(k.lo), a[j] = at(k.a), b[j] = at(k.b), p[j] = at(k.p), q[j] = at(k.q), r[j] = at(k.r);
    }
    auto f = [&](V gv, V xv, int j) {
      V d = (xv - hi[j]) - lo[j];
      V h = ACT == NONE ? gv : pull<ACT>(gv, d * a[j] + b[j], alpha);
      return h * p[j] + (d * q[j] + r[j]);
    };
    if (!full)
      for (int64_t i = 0; i < n; i++) store(dx + i * c, f(load(g + i * c, width), load(x + i * c, width), 0), width);
    else
      for (int64_t i = 0; i < n; i++)
        for (int j = 0; j < W; j++) {
          int64_t at = i * c + j * L;
          V v = f(load(g + at), load(x + at), j);
          if (past) stream(dx + at, v); else store(dx + at, v);
        }
  }
};

}  // namespace visus
