// Layer norms that are no unions of planes: rows of K numbers with a weight for each (LayerNorm;
// channels-last LayerNorm2d), and the channels of each pixel of contiguous planes (LayerNorm2d).
#include <memory>
#include "planes.h"

using namespace visus;

namespace {

struct Args {
  int64_t dtype, pixels, n, c, s, act, threads, past;  // rows: n rows of c numbers
  const void *x, *g;
  void* y;  // or dx
  const void *weight, *bias;
  void *dweight, *dbias;
  void* saved;  // hi, lo (the mean) and 1 / sigma: three times one for each row or pixel
  double eps, alpha;
};

constexpr int64_t LONG = 16384;   // rows from here on share their columns among the threads
constexpr int64_t ROUND = 32;     // rows that are summed in the dtype before float64
constexpr int64_t COLUMNS = 2048;

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
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t i = 0; i < M; i++) forward_row(i, past);
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

  // h and d of L numbers of row i
  VISUS_INLINE V pulled(int64_t i, int64_t j, int64_t n, V& d, V w) const {
    d = (at(x + i * K + j, n) - hi[i]) - lo[i];
    V v = at(g + i * K + j, n);
    return ACT == NONE ? v : pull<ACT>(v, (d * inverse[i]) * w + number(bias, j, n, 0), alpha);
  }
  VISUS_APART void sum_row(int64_t i, A& p, A& q) const {
    double t1 = 0, t2 = 0;
    for (int64_t t = 0; t < K; t += TILE) {
      V s1[2] = {}, s2[2] = {};
      const int64_t end = std::min(K, t + TILE);
      auto one = [&](int64_t j, int k) {
        V w = number(weight, j, end - j, 1), d, h = w * pulled(i, j, end - j, d, w);
        s1[k] += h;
        s2[k] += h * d;
      };
      int64_t j = t;
      for (; j + 2 * L <= end; j += 2 * L) { one(j, 0); one(j + L, 1); }
      for (; j < end; j += L) one(j, 0);
      t1 += exact(s1[0] + s1[1]);
      t2 += exact(s2[0] + s2[1]);
    }
    const double r = inverse[i];
    p = A(t1 / double(K));
    q = A(t2 / double(K) * r * r);
  }
  // dx of columns [j0, j1) of row i, and what they add to dw, db.
  VISUS_APART void write_row(int64_t i, int64_t j0, int64_t j1, A p, A q, A* dw, A* db, bool past) const {
    const A s = inverse[i];
    for (int64_t j = j0; j < j1; j += L) {
      const int64_t n = j1 - j;
      V w = number(weight, j, n, 1), d, h = pulled(i, j, n, d, w);
      put(y + i * K + j, (w * h - p - d * q) * s, n, past);
      if (dw) store(dw + j - j0, load(dw + j - j0) + h * (d * s));
      if (db) store(db + j - j0, load(db + j - j0) + h);
    }
  }
  void backward_rows() {
    total.reset(new double[2 * K * (K < LONG ? threads : 1)]());
    const bool past = streams(y, K);
    if (K < LONG) short_rows(past); else long_rows(past);
    finish(K < LONG ? threads : 1);
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
          for (int64_t i = i0; i < std::min({M, (t + 1) * count, i0 + ROUND}); i++) {
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
  void long_rows(bool past) {
    std::unique_ptr<A[]> means(new A[2 * M]);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static)
      for (int64_t i = 0; i < M; i++) sum_row(i, means[2 * i], means[2 * i + 1]);
      A part[2 * COLUMNS] = {};
#pragma omp for schedule(static)
      for (int64_t j = 0; j < K; j += COLUMNS) {
        const int64_t end = std::min(K, j + COLUMNS);
        for (int64_t i = 0; i < M; i++) {
          write_row(i, j, end, means[2 * i], means[2 * i + 1], part, part + COLUMNS, past);
          if (i % ROUND == ROUND - 1 || i == M - 1) drain(total.get() + j, total.get() + K + j, part, part + COLUMNS, end - j);
        }
      }
    }
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
        d1[v] += d;
        d2[v] += d * d;
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
        __builtin_prefetch(x + base + (c + 4) * S + j);
        __builtin_prefetch(g + base + (c + 4) * S + j);
        V d, h = pulled(c, j, v, w, b, d);
        db += h;
        dw += h * (d * s[v]);
        t1[v] += h * w;
        t2[v] += h * d * w;
      }
      sums[c] += exact(dw);
      sums[K + c] += exact(db);
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
