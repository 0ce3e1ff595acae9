// Layer norms that are no unions of planes: rows of K numbers with a weight for each (LayerNorm;
// channels-last LayerNorm2d), and the channels of each pixel of contiguous planes (LayerNorm2d).
#include <memory>
#include "args.h"
#include "planes.h"

using namespace visus;

namespace {

typedef LayerArgs Args;

constexpr int64_t SHORT = 2048;   // rows up to here go four at a time
constexpr int64_t LONG = 16384;   // rows from here on share their columns among the threads
constexpr int64_t ROUND = 32;     // rows that are summed in the dtype before float64
constexpr int64_t COLUMNS = 1024;
constexpr int64_t HELD = 4 << 20; // bytes of x and g that are still near when their dx is written

template <class T, int ACT> struct Layer {
  typedef Planes<T> P;
  typedef typename P::A A;
  typedef typename P::V V;
  static constexpr int L = P::L;
  static constexpr int WIDTH = 16;  // vectors of pixels in a cut

  const Args& a;
  const int64_t M, K, S;
  const T *x = (const T*)a.x, *g = (const T*)a.g;
  T* y = (T*)a.y;
  const A *weight = (const A*)a.weight, *bias = (const A*)a.bias, alpha = A(a.alpha);
  A *hi, *lo, *inverse;
  const int threads;
  std::unique_ptr<double[]> total;  // for each thread: dweight and dbias

  explicit Layer(const Args& args) : a(args), M(args.n), K(args.c), S(args.s), threads(int(args.threads)) {
    const int64_t sets = a.pixels ? M * S : M;
    hi = (A*)a.saved, lo = hi + sets, inverse = lo + sets;
  }

  static VISUS_INLINE V at(const T* p, int64_t n) { return n >= L ? load(p) : load(p, int(n)); }
  static VISUS_INLINE void put(T* p, V v, int64_t n, bool past) {
    if (n < L) store(p, v, int(n)); else if (past) stream(p, v); else store(p, v);
  }
  VISUS_INLINE V number(const A* p, int64_t j, int64_t n, A other) const {
    return !p ? all(other) : n >= L ? load(p + j) : load(p + j, int(n));
  }
  bool streams(const T* p, int64_t step) const {
    return a.past && uintptr_t(p) % (sizeof(T) * L) == 0 && (step * sizeof(T)) % (sizeof(T) * L) == 0;
  }

  // ---- rows ----------------------------------------------------------------------------

  void forward_rows() {
    const bool past = streams(y, K);
    if (K <= SHORT) {
      const int64_t blocks = (M + 3) / 4;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
      for (int64_t i = 0; i < blocks; i++)
        if (4 * i + 4 <= M) forward_few<4>(4 * i, past); else for (int64_t k = 4 * i; k < M; k++) forward_few<1>(k, past);
      return;
    }
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t i = 0; i < M; i++) forward_row(i, past);
  }

  // ---- R short rows at once ------------------------------------------------------------
  // Weights are read once for all of them, and their sums are folded together.

  typedef Some<A> Four;
  template <class N> VISUS_INLINE V number(const A* p, int64_t j, N n, A other) const { return p ? P::at(p + j, n) : all(other); }

  // What the loops need lies in locals: a store may change any member, as the compiler sees it.

  template <int R> VISUS_APART void forward_few(int64_t i, bool past) {
    const int64_t K = this->K;
    const A *weight = this->weight, *bias = this->bias, alpha = this->alpha;
    const T* r = x + i * K;
    T* o = y + i * K;
    V t[4] = {}, t2[4] = {};
    for (int k = 0; k < R; k++) P::along(K, [&](int64_t j, auto n) { t[k] += P::at(r + k * K + j, n); });
    const A share = A(1) / A(K); const Four high = fold(t) * share;
    for (int k = 0; k < R; k++) {
      V d1 = {}, d2 = {};
      P::along(K, [&](int64_t j, auto n) {
        V d = P::at(r + k * K + j, n) - high[k];
        if constexpr (std::is_same_v<decltype(n), int>) d = only<A>(d, n);
        d1 += d, d2 += d * d;
      });
      t[k] = d1, t2[k] = d2;
    }
    const Four low = fold(t) * share;
    Four var = fold(t2) * share - low * low, s;
    for (int k = 0; k < R; k++) {
      s[k] = A(1) / std::sqrt((var[k] < 0 ? A(0) : var[k]) + A(a.eps));
      hi[i + k] = high[k], lo[i + k] = low[k], inverse[i + k] = s[k];
    }
    for (int k = 0; k < R; k++) {
      const V h = all(high[k]), f = all(s[k]), off = all(-low[k] * s[k]);
      P::along(K, [&](int64_t j, auto n) {
        V v = (P::at(r + k * K + j, n) - h) * f + off;
        P::put(o + k * K + j, act<ACT>(v * number(weight, j, n, 1) + number(bias, j, n, 0), alpha), n, past);
      });
    }
  }

  template <int R> VISUS_APART void backward_few(int64_t i, A* dw, A* db, bool past) const {
    const int64_t K = this->K;
    const A *weight = this->weight, *bias = this->bias, alpha = this->alpha;
    const T *xr = x + i * K, *gr = g + i * K;
    T* o = y + i * K;
    V t1[4] = {}, t2[4] = {}, h0[R], s[R], off[R], q[R], c[R];
    for (int k = 0; k < R; k++) h0[k] = all(hi[i + k]), s[k] = all(inverse[i + k]), off[k] = all(-lo[i + k] * inverse[i + k]);
    auto pulled = [&](int k, int64_t j, auto n, V d, V w) {
      V v = P::at(gr + k * K + j, n);
      return ACT == NONE ? v : pull<ACT>(v, (d * s[k] + off[k]) * w + number(bias, j, n, 0), alpha);
    };
    for (int k = 0; k < R; k++) {
      V s1 = {}, s2 = {};
      P::along(K, [&](int64_t j, auto n) {
        const V w = number(weight, j, n, 1), d = P::at(xr + k * K + j, n) - h0[k], h = w * pulled(k, j, n, d, w);
        s1 += h, s2 += h * d;
      });
      t1[k] = s1, t2[k] = s2;
    }
    const Four h = fold(t1), hd = fold(t2);
    for (int k = 0; k < R; k++) {
      const A f = inverse[i + k], l = lo[i + k], slope = (hd[k] - l * h[k]) / A(K) * f * f * f;
      q[k] = all(slope), c[k] = all(l * slope - h[k] / A(K) * f);
    }
    P::along(K, [&](int64_t j, auto n) {  // the rows are in the cache now
      const V w = number(weight, j, n, 1);
      V sw = load(dw + j), sb = load(db + j);
#pragma GCC unroll 4
      for (int k = 0; k < R; k++) {
        const V d = P::at(xr + k * K + j, n) - h0[k], e = pulled(k, j, n, d, w);
        P::put(o + k * K + j, (w * e) * s[k] + (c[k] - d * q[k]), n, past);
        sw += e * (d * s[k] + off[k]), sb += e;
      }
      store(dw + j, sw), store(db + j, sb);
    });
  }
  VISUS_APART void forward_row(int64_t i, bool past) {
    const T* r = x + i * K;
    T* o = y + i * K;
    double mean, var;
    P::moments(r, K, mean, var);
    const A h = hi[i] = A(mean), l = lo[i] = A(mean - double(h)), s = inverse[i] = A(1.0 / std::sqrt(var + a.eps));
    int64_t j = 0;
    if (weight && bias)
      for (; j + L <= K; j += L) {
        V v = act<ACT>((((load(r + j) - h) - l) * s) * load(weight + j) + load(bias + j), alpha);
        if (past) stream(o + j, v); else store(o + j, v);
      }
    for (; j < K; j += L) {
      int64_t n = K - j;
      V d = (at(r + j, n) - h) - l;
      put(o + j, act<ACT>((d * s) * number(weight, j, n, 1) + number(bias, j, n, 0), alpha), n, past);
    }
  }

  // What h is made of: x - hi of columns j on of row i, and the rest of the mean over sigma.
  template <class N> VISUS_INLINE V pulled(int64_t i, int64_t j, N n, V d, V w, A off) const {
    V v = P::at(g + i * K + j, n);
    return ACT == NONE ? v : pull<ACT>(v, (d * inverse[i] + off) * w + number(bias, j, n, 0), alpha);
  }
  VISUS_APART void sum_row(int64_t i, A& p, A& q) const {
    double t1 = 0, t2 = 0;
    sum_part(i, 0, K, t1, t2);
    const double r = inverse[i];
    p = A(t1 / double(K));
    q = A(t2 / double(K) * r * r);
  }
  // Adds the sums of columns [j0, j1) of row i.
  VISUS_APART void sum_part(int64_t i, int64_t j0, int64_t j1, double& t1, double& t2) const {
    const A off = -lo[i] * inverse[i];
    for (int64_t t = j0; t < j1; t += TILE) {
      V s1[2] = {}, s2[2] = {};
      P::vectors(std::min(TILE, j1 - t), [&](int k, int64_t o, auto n) {
        const int64_t j = t + o;
        V w = number(weight, j, n, 1), d = P::at(x + i * K + j, n) - hi[i], h = w * pulled(i, j, n, d, w, off);
        s1[k] += h, s2[k] += h * d;
      });
      const double h = exact(s1[0] + s1[1]);
      t1 += h, t2 += exact(s2[0] + s2[1]) - h * double(lo[i]);
    }
  }
  // dx of columns [j0, j1) of row i, and what they add to dw, db.
  VISUS_APART void write_row(int64_t i, int64_t j0, int64_t j1, A p, A q, A* dw, A* db, bool past) const {
    const A s = inverse[i], off = -lo[i] * s, slope = q * s, c = lo[i] * slope - p * s;
    P::along(j1 - j0, [&](int64_t k, auto n) {
      const int64_t j = j0 + k;
      P::soon(x + i * K + j, K), P::soon(g + i * K + j, K);
      V w = number(weight, j, n, 1), d = P::at(x + i * K + j, n) - hi[i], h = pulled(i, j, n, d, w, off);
      P::put(y + i * K + j, (w * h) * s + (c - d * slope), n, past);
      if (dw) store(dw + k, load(dw + k) + h * (d * s + off));
      if (db) store(db + k, load(db + k) + h);
    });
  }
  void backward_rows() {
    const bool past = streams(y, K);
    if (K >= LONG) return long_rows(past);
    total.reset(new double[2 * K * threads]());
    short_rows(past);
    finish(threads);
  }
  void short_rows(bool past) {
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
      const int64_t wide = (K + L - 1) / L * L, count = (M + threads - 1) / threads;
      std::unique_ptr<A[]> part(new A[2 * wide]());
      A *dw = part.get(), *db = dw + wide;
#pragma omp for schedule(static)
      for (int64_t t = 0; t < threads; t++) {
        double* mine = total.get() + t * 2 * K;
        for (int64_t i0 = t * count; i0 < std::min(M, (t + 1) * count); i0 += ROUND) {
          const int64_t i1 = std::min({M, (t + 1) * count, i0 + ROUND});
          int64_t i = i0;
          if (K <= SHORT) {
            for (; i + 4 <= i1; i += 4) backward_few<4>(i, dw, db, past);
            for (; i < i1; i++) backward_few<1>(i, dw, db, past);
          }
          for (; i < i1; i++) {
            A p, q;
            sum_row(i, p, q);
            write_row(i, 0, K, p, q, dw, db, past);
          }
          drain(mine, mine + K, dw, db, K);
        }
      }
    }
  }
  static void drain(double* w, double* b, A* dw, A* db, int64_t n) {
    for (int64_t j = 0; j < n; j++) { w[j] += dw[j]; b[j] += db[j]; dw[j] = db[j] = 0; }
  }
  // Rows by blocks that are read from memory once: first their sums, then column by column their
  // dx and what they add to the gradients of the weights.
  void long_rows(bool past) {
    const int64_t fit = HELD / (2 * K * int64_t(sizeof(T))), block = fit < std::max(4, threads) ? M : std::min(fit, ROUND);
    const int64_t wide = K * int64_t(sizeof(A)) <= HELD / 8 ? K : 8192;  // longer weights are read once for all rows
    std::unique_ptr<double[]> means(new double[2 * M]());
    for (void* out : {a.dweight, a.dbias}) if (out) memset(out, 0, K * sizeof(A));
#pragma omp parallel num_threads(threads) if (threads > 1)
    for (int64_t i0 = 0; i0 < M; i0 += block) {
      const int64_t i1 = std::min(M, i0 + block);
      const int64_t some = (i1 - i0 + threads - 1) / threads;
#pragma omp for schedule(static)
      for (int64_t t = i0; t < i1; t += some)
        for (int64_t j = 0; j < K; j += wide)
          for (int64_t i = t; i < std::min(i1, t + some); i++) sum_part(i, j, std::min(K, j + wide), means[2 * i], means[2 * i + 1]);
#pragma omp for schedule(static)
      for (int64_t j = 0; j < K; j += COLUMNS) {
        A part[2 * COLUMNS] = {};
        const int64_t end = std::min(K, j + COLUMNS);
        for (int64_t i = i0; i < i1; i++) {
          const double r = inverse[i];
          write_row(i, j, end, A(means[2 * i] / double(K)), A(means[2 * i + 1] / double(K) * r * r), part, part + COLUMNS, past);
        }
        add(a.dweight, part, j, end), add(a.dbias, part + COLUMNS, j, end);
      }
    }
  }
  static void add(void* out, const A* part, int64_t j, int64_t end) {
    if (out) for (int64_t k = j; k < end; k++) ((A*)out)[k] += part[k - j];
  }
  void finish(int parts) {
    for (int64_t j = 0; j < K; j++) {
      double w = 0, b = 0;
      for (int t = 0; t < parts; t++) { w += total[t * 2 * K + j]; b += total[t * 2 * K + K + j]; }
      if (a.dweight) ((A*)a.dweight)[j] = A(w);
      if (a.dbias) ((A*)a.dbias)[j] = A(b);
    }
  }

  // ---- pixels --------------------------------------------------------------------------

  // Vectors of pixels side by side, so that all channels of a cut stay in the cache.
  int64_t cut() const { return L * std::max<int64_t>(1, std::min<int64_t>(WIDTH, (int64_t(384) << 10) / (K * L * int64_t(sizeof(T)) * (g ? 2 : 1)))); }

  void forward_pixels() {
    const int64_t wide = cut(), cuts = (S + wide - 1) / wide;
    const bool past = streams(y, S);
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t i = 0; i < M * cuts; i++) forward_cut(i / cuts, i % cuts * wide, std::min(S, i % cuts * wide + wide), past);
    if (a.past) fence();
  }
  VISUS_APART void forward_cut(int64_t n, int64_t s0, int64_t s1, bool past) {
    const T* r = x + n * K * S + s0;
    const int64_t many = s1 - s0;
    V k[WIDTH] = {}, d1[WIDTH] = {}, d2[WIDTH] = {};
    for (int64_t c = 0; c < K; c++)
      for (int64_t j = 0, v = 0; j < many; j += L, v++) {
        __builtin_prefetch(r + (c + 6) * S + j);
        k[v] += at(r + c * S + j, many - j);
      }
    for (V& v : k) v /= A(K);
    for (int64_t c = 0; c < K; c++)
      for (int64_t j = 0, v = 0; j < many; j += L, v++) {
        V d = at(r + c * S + j, many - j) - k[v];
        d1[v] += d, d2[v] += d * d;
      }
    V low[WIDTH], scale[WIDTH];
    for (int64_t j = 0, v = 0; j < many; j += L, v++) {
      low[v] = d1[v] / A(K);
      V var = d2[v] / A(K) - low[v] * low[v] + A(a.eps), s;
      for (int i = 0; i < L; i++) s[i] = A(1) / std::sqrt(var[i]);
      scale[v] = s;
      const int64_t o = n * S + s0 + j;
      keep(hi + o, k[v], many - j), keep(lo + o, low[v], many - j), keep(inverse + o, s, many - j);
    }
    T* o = y + n * K * S + s0;
    for (int64_t c = 0; c < K; c++) {
      const A w = weight ? weight[c] : A(1), b = bias ? bias[c] : A(0);
      for (int64_t j = 0, v = 0; j < many; j += L, v++) {
        V d = (at(r + c * S + j, many - j) - k[v]) - low[v];
        put(o + c * S + j, act<ACT>((d * scale[v]) * w + b, alpha), many - j, past);
      }
    }
  }
  static VISUS_INLINE void keep(A* p, V v, int64_t n) { if (n >= L) store(p, v); else store(p, v, int(n)); }
  static VISUS_INLINE V kept(const A* p, int64_t n) { return n >= L ? load(p) : load(p, int(n)); }

  void backward_pixels() {
    total.reset(new double[2 * K * threads]());
    const int64_t wide = cut(), cuts = (S + wide - 1) / wide, items = M * cuts, count = (items + threads - 1) / threads;
    const bool past = streams(y, S);
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t t = 0; t < threads; t++)
      for (int64_t i = t * count; i < std::min(items, (t + 1) * count); i++)
        backward_cut(i / cuts, i % cuts * wide, std::min(S, i % cuts * wide + wide), total.get() + t * 2 * K, past);
    if (a.past) fence();
    finish(threads);
  }
  VISUS_APART void backward_cut(int64_t n, int64_t s0, int64_t s1, double* sums, bool past) {
    const int64_t base = n * K * S + s0, many = s1 - s0;
    V h0[WIDTH], l0[WIDTH], s[WIDTH], t1[WIDTH] = {}, t2[WIDTH] = {};
    for (int64_t j = 0, v = 0; j < many; j += L, v++) {
      const int64_t o = n * S + s0 + j;
      h0[v] = kept(hi + o, many - j), l0[v] = kept(lo + o, many - j), s[v] = kept(inverse + o, many - j);
    }
    auto pulled = [&](int64_t c, int64_t j, int64_t v, A w, A b, V& d) {
      d = (at(x + base + c * S + j, many - j) - h0[v]) - l0[v];
      V u = at(g + base + c * S + j, many - j);
      return ACT == NONE ? u : pull<ACT>(u, (d * s[v]) * w + b, alpha);
    };
    for (int64_t c = 0; c < K; c++) {
      const A w = weight ? weight[c] : A(1), b = bias ? bias[c] : A(0);
      V dw = {}, db = {};
      for (int64_t j = 0, v = 0; j < many; j += L, v++) {
        __builtin_prefetch(x + base + (c + 4) * S + j), __builtin_prefetch(g + base + (c + 4) * S + j);
        V d, h = pulled(c, j, v, w, b, d);
        db += h, dw += h * (d * s[v]);
        t1[v] += h * w, t2[v] += h * d * w;
      }
      sums[c] += exact(dw), sums[K + c] += exact(db);
    }
    for (int v = 0; v < WIDTH; v++) { t1[v] /= A(K); t2[v] = t2[v] / A(K) * s[v] * s[v]; }
    for (int64_t c = 0; c < K; c++) {
      const A w = weight ? weight[c] : A(1), b = bias ? bias[c] : A(0);
      for (int64_t j = 0, v = 0; j < many; j += L, v++) {
        V d, h = pulled(c, j, v, w, b, d);
        put(y + base + c * S + j, (h * w - t1[v] - d * t2[v]) * s[v], many - j, past);
      }
    }
  }

  void run() {
    if (a.pixels) { if (g) backward_pixels(); else forward_pixels(); }
    else { if (g) backward_rows(); else forward_rows(); if (a.past) fence(); }
  }
};

template <class T> void start(const Args& a) {
  switch (a.act) {
    case RELU: return Layer<T, RELU>(a).run();
    case LEAKY: return Layer<T, LEAKY>(a).run();
    case ELU: return Layer<T, ELU>(a).run();
    case SIGMOID: return Layer<T, SIGMOID>(a).run();
    case TANH: return Layer<T, TANH>(a).run();
    default: return Layer<T, NONE>(a).run();
  }
}

}  // namespace

// Forward where g is null, else backward.
extern "C" void visus_layer(const Args* a) {
  switch (a->dtype) {
    case 0: return start<float>(*a);
    case 1: return start<double>(*a);
    case 2: return start<bf16>(*a);
    default: return start<f16>(*a);
  }
}
