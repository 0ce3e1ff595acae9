// Layer norms that are no unions of planes: rows of K numbers with a weight for each (LayerNorm;
// channels-last LayerNorm2d), and the channels of each pixel of contiguous planes (pixels.h).
#include "pixels.h"
#include "turn.h"

using namespace visus;

namespace {

constexpr int64_t SHORT = 2048;    // rows up to here go four at a time
constexpr int64_t LONG = 16384;    // rows from here on share their columns among the threads
constexpr int64_t ROUND = 32;      // rows that are summed in the dtype before float64
constexpr int64_t SOME = 1024;     // columns that are summed in the dtype
constexpr int64_t PIECE = 16384;   // columns of long rows: their weights and the gradients of these stay in L2
constexpr int64_t NEAR = 256 << 10; // bytes of a row up to which the one after those at work is asked for
constexpr int64_t LENT = 13 << 20; // bytes of the L3 that a thread can count on
constexpr int64_t FEW = 8;         // rows from which it pays to write one while the next is read

template <class T, int ACT> struct Rows : Layer<T, ACT> {
  typedef Layer<T, ACT> B;
  typedef typename B::P P;
  typedef typename B::A A;
  typedef typename B::V V;
  static constexpr int L = P::L;
  using B::B, B::a, B::M, B::K, B::x, B::g, B::y, B::weight, B::bias, B::bend, B::hi, B::lo, B::inverse, B::threads, B::total, B::number, B::pulled;

  // Weights are (C, S) where the rows are (S, C): they are turned once, and their gradients back.
  void run() {
    const bool past = B::streams(y, K);
    std::unique_ptr<A[]> room;
    if (a.channels) {
      room.reset(new A[2 * K]);
      turn(weight, room.get());
      if (!g || ACT != NONE) turn(bias, room.get() + K);
    }
    if (g && K >= LONG) backward_long(past);
    else if (g) backward_short(past);
    else if (K >= LONG && overlaps()) forward_overlapped(past);
    else if (K >= LONG) forward_pairs(past);
    else forward_short(past);
    if (a.past) fence();
  }
  void turn(const A*& from, A* into) const {
    if (!from) return;
    Turn<A>::template turn<false>(from, into, a.channels, K / a.channels, threads);
    from = into;
  }
  void back(const A* from, void* into) const {
    if (into) Turn<A>::template turn<true>(from, (A*)into, a.channels, K / a.channels, threads);
  }

  // ---- short rows --------------------------------------------------------------------------

  void forward_short(bool past) {
    const int64_t few = K <= SHORT ? 4 : 1, blocks = (M + few - 1) / few;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t i = 0; i < blocks; i++) {
      if (few == 1) { forward_row(i, past); continue; }
      if (4 * i + 4 <= M) forward_few<4>(4 * i, past); else for (int64_t k = 4 * i; k < M; k++) forward_few<1>(k, past);
    }
  }
  VISUS_APART void forward_row(int64_t i, bool past) {
    double mean, var;
    P::moments(x + i * K, K, mean, var);
    keep(i, mean, var);
    apply(i, 1, 0, K, past);
  }
  VISUS_INLINE void keep(int64_t i, double mean, double var) { hi[i] = A(mean), lo[i] = A(mean - double(A(mean))), inverse[i] = A(1.0 / std::sqrt(var + a.eps)); }

  void backward_short(bool past) {
    total.reset(new double[2 * K * threads]());
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
          if (K <= SHORT) for (; i + 4 <= i1; i += 4) backward_few<4>(i, dw, db, past);
          for (; i + 2 <= i1; i += 2) backward_rows<2>(i, dw, db, past);
          if (i < i1) backward_rows<1>(i, dw, db, past);
          drain(mine, mine + K, dw, db, K);
        }
      }
    }
    if (!a.channels) return B::finish((A*)a.dweight, (A*)a.dbias);
    std::unique_ptr<A[]> room(new A[2 * K]);
    B::finish(room.get(), room.get() + K);
    back(room.get(), a.dweight), back(room.get() + K, a.dbias);
  }
  template <int R> void backward_rows(int64_t i, A* dw, A* db, bool past) const {
    double sum[2 * R] = {};
    sums<R>(i, 0, K, dw, db, false, sum);
    write(i, R, 0, K, sum, past);
  }
  static void drain(double* w, double* b, A* dw, A* db, int64_t n) {
#pragma omp simd
    for (int64_t j = 0; j < n; j++) w[j] += double(dw[j]), b[j] += double(db[j]), dw[j] = 0, db[j] = 0;
  }

  // ---- R short rows at once ------------------------------------------------------------
  // Weights are read once for all of them, and their sums are folded together.

  typedef Some<A> Four;

  // What the loops need lies in locals: a store may change any member, as the compiler sees it.

  template <int R> VISUS_APART void forward_few(int64_t i, bool past) {
    const int64_t K = this->K;
    const A *weight = this->weight, *bias = this->bias;
    const Bend<A> bend = this->bend;
    const T* from = x + i * K;
    T* into = y + i * K;
    V t[4] = {}, t2[4] = {};
    VISUS_ROWS {
      V u[2] = {};
      P::vectors(K, [&](int k, int64_t j, auto n) VISUS_HERE { u[k] += P::at(from + r * K + j, n); });
      t[r] = u[0] + u[1];
    }
    const A share = A(1) / A(K); const Four high = fold(t) * share;
    VISUS_ROWS {
      V d1[2] = {}, d2[2] = {};
      const V h = all(high[r]);
      P::vectors(K, [&](int k, int64_t j, auto n) VISUS_HERE {
        V d = P::at(from + r * K + j, n) - h;
        if constexpr (std::is_same_v<decltype(n), int>) d = only<A>(d, n);
        d1[k] += d, d2[k] += d * d;
      });
      t[r] = d1[0] + d1[1], t2[r] = d2[0] + d2[1];
    }
    const Four low = fold(t) * share;
    Four var = fold(t2) * share - low * low, s;
    for (int r = 0; r < R; r++) {
      s[r] = A(1) / std::sqrt((var[r] < 0 ? A(0) : var[r]) + A(a.eps));
      hi[i + r] = high[r], lo[i + r] = low[r], inverse[i + r] = s[r];
    }
    for (int r = 0; r < R; r++) {
      const V h = all(high[r]), f = all(s[r]), off = all(-low[r] * s[r]);
      P::along(K, [&](int64_t j, auto n) VISUS_HERE {
        if (past) P::later(from + r * K + j, R * K);  // the rows after these, while these are written
        V v = (P::at(from + r * K + j, n) - h) * f + off;
        P::put(into + r * K + j, act<ACT>(v * number(weight, j, n, 1) + number(bias, j, n, 0), bend), n, past);
      });
    }
  }

  template <int R> VISUS_APART void backward_few(int64_t i, A* dw, A* db, bool past) const {
    const int64_t K = this->K;
    const A *weight = this->weight, *bias = this->bias;
    const Bend<A> bend = this->bend;
    const T *xr = x + i * K, *gr = g + i * K;
    T* into = y + i * K;
    V t1[4] = {}, t2[4] = {}, h0[R], s[R], off[R], q[R], c[R];
    VISUS_ROWS h0[r] = all(hi[i + r]), s[r] = all(inverse[i + r]), off[r] = all(-lo[i + r] * inverse[i + r]);
    VISUS_ROWS {
      V s1[2] = {}, s2[2] = {};
      P::vectors(K, [&](int k, int64_t j, auto n) VISUS_HERE {
        const V w = number(weight, j, n, 1), d = P::at(xr + r * K + j, n) - h0[r];
        const V f = w * pulled(P::at(gr + r * K + j, n), d * s[r] + off[r], w, ACT == NONE ? V{} : number(bias, j, n, 0), bend);
        s1[k] += f, s2[k] += f * d;
      });
      t1[r] = s1[0] + s1[1], t2[r] = s2[0] + s2[1];
    }
    const Four h = fold(t1), hd = fold(t2);
    VISUS_ROWS {
      const A f = inverse[i + r], l = lo[i + r], slope = (hd[r] - l * h[r]) / A(K) * f * f * f;
      q[r] = all(slope), c[r] = all(l * slope - h[r] / A(K) * f);
    }
    P::along(K, [&](int64_t j, auto n) VISUS_HERE {  // the rows are in the cache now
      const V w = number(weight, j, n, 1), b = ACT == NONE ? V{} : number(bias, j, n, 0);
      V sw = load(dw + j), sb = load(db + j);
      VISUS_ROWS {
        const V d = P::at(xr + r * K + j, n) - h0[r], xhat = d * s[r] + off[r], e = pulled(P::at(gr + r * K + j, n), xhat, w, b, bend);
        P::put(into + r * K + j, (w * e) * s[r] + (c[r] - d * q[r]), n, past);
        sw += e * xhat, sb += e;
      }
      store(dw + j, sw), store(db + j, sb);
    });
  }

  // ---- columns [j0, j1) of rows ------------------------------------------------------------------

  // Rows take turns over columns whose weights stay in the nearest cache. One row is written at a time:
  // of two, what streams past the caches holds up what is read where it lies at the same place of a page.
  template <class F> VISUS_INLINE void turns(int64_t rows, int64_t j0, int64_t j1, F f) const {
    for (int64_t t = j0; t < j1; t += SOME)
      for (int64_t r = 0; r < rows; r++) f(r, t, std::min(t + SOME, j1));
  }

  VISUS_APART void apply(int64_t i, int64_t rows, int64_t j0, int64_t j1, bool past) const {
    const A *weight = this->weight, *bias = this->bias;
    const Bend<A> bend = this->bend;
    const int64_t K = this->K, after = K * int64_t(sizeof(T)) <= NEAR ? rows * K : 0;
    turns(rows, j0, j1, [&](int64_t r, int64_t t, int64_t end) VISUS_HERE {
      const T* from = x + (i + r) * K;
      T* into = y + (i + r) * K;
      const V h = all(hi[i + r]), s = all(inverse[i + r]), off = all(-lo[i + r] * inverse[i + r]);
      P::between(t, end, [&](int64_t j, auto n) VISUS_HERE {
        const V w = number(weight, j, n, 1), b = number(bias, j, n, 0);
        P::later(from + j, after);
        P::put(into + j, act<ACT>(((P::at(from + j, n) - h) * s + off) * w + b, bend), n, past);
      });
    });
  }

  // Adds the sums of h and h d of R rows to `into`, and to dw and db (or to nothing: `fresh`).
  template <int R> VISUS_APART void sums(int64_t i, int64_t j0, int64_t j1, A* dw, A* db, bool fresh, double* into) const {
    const A *weight = this->weight, *bias = this->bias;
    const Bend<A> bend = this->bend;
    const int64_t K = this->K;
    V h0[R], s[R], off[R];
    VISUS_ROWS h0[r] = all(hi[i + r]), s[r] = all(inverse[i + r]), off[r] = all(-lo[i + r] * inverse[i + r]);
    const T *xr = x + i * K, *gr = g + i * K;
    for (int64_t t = j0; t < j1; t += SOME) {
      V s1[R] = {}, s2[R] = {};
      P::between(t, std::min(t + SOME, j1), [&](int64_t j, auto n) VISUS_HERE {
        const V w = number(weight, j, n, 1), b = ACT == NONE ? V{} : number(bias, j, n, 0);
        V sw = fresh ? V{} : P::at(dw + j, n), sb = fresh ? V{} : P::at(db + j, n);
        VISUS_ROWS {
          P::soon(xr + r * K + j, P::NEXT), P::soon(gr + r * K + j, P::NEXT);
          const V d = P::at(xr + r * K + j, n) - h0[r], xhat = d * s[r] + off[r], e = pulled(P::at(gr + r * K + j, n), xhat, w, b, bend), f = e * w;
          s1[r] += f, s2[r] += f * d;
          sw += e * xhat, sb += e;
        }
        P::put(dw + j, sw, n, false), P::put(db + j, sb, n, false);
      });
      VISUS_ROWS {
        const double h = exact(s1[r]);
        into[2 * r] += h, into[2 * r + 1] += exact(s2[r]) - h * double(lo[i + r]);
      }
    }
  }
  // dx of rows, from their sums
  VISUS_APART void write(int64_t i, int64_t rows, int64_t j0, int64_t j1, const double* sum, bool past) const {
    const A *weight = this->weight, *bias = this->bias;
    const Bend<A> bend = this->bend;
    const int64_t K = this->K;
    turns(rows, j0, j1, [&](int64_t r, int64_t t, int64_t end) VISUS_HERE {
      const double f = inverse[i + r], slope = sum[2 * r + 1] / double(K) * f * f * f;
      const V h0 = all(hi[i + r]), s = all(inverse[i + r]), off = all(-lo[i + r] * inverse[i + r]);
      const V q = all(A(slope)), c = all(A(lo[i + r] * slope - sum[2 * r] / double(K) * f));
      const T *xr = x + (i + r) * K, *gr = g + (i + r) * K;
      T* into = y + (i + r) * K;
      P::between(t, end, [&](int64_t j, auto n) VISUS_HERE {
        const V w = number(weight, j, n, 1), b = ACT == NONE ? V{} : number(bias, j, n, 0);
        P::soon(xr + j, P::NEXT), P::soon(gr + j, P::NEXT);
        const V d = P::at(xr + j, n) - h0, e = pulled(P::at(gr + j, n), d * s + off, w, b, bend);
        P::put(into + j, (w * e) * s + (c - d * q), n, past);
      });
    });
  }

  // ---- long rows, whose columns the threads share --------------------------------------------------

  // f(first column, end) for pieces of the columns of thread t, from the last: what was read last may still be near
  template <class F> void pieces(int64_t t, F f) const {
    const int64_t j0 = edge(t), j1 = edge(t + 1), many = (j1 - j0 + PIECE - 1) / PIECE;
    for (int64_t k = many - 1; k >= 0; k--) f(j0 + k * PIECE, std::min(j1, j0 + (k + 1) * PIECE));
  }
  int64_t edge(int64_t t) const { return t == threads ? K : K / SOME * t / threads * SOME; }
  // The moments of row i, from those of the parts that threads have
  void settle(int64_t i, const Moments* part, int64_t step) {
    Moments all;
    for (int64_t t = 0; t < threads; t++) {
      const Moments& m = part[t * step];
      if (m.count) all.merge(m.count, m.mean, m.square * m.count);
    }
    keep(i, all.mean, all.square / all.count);
  }

  // Two rows at a time, so that weights are read once for both.
  void forward_pairs(bool past) {
    std::unique_ptr<Moments[]> part(new Moments[2 * threads]);
#pragma omp parallel num_threads(threads) if (threads > 1)
    for (int64_t i0 = 0; i0 < M; i0 += 2) {
      const int64_t rows = std::min<int64_t>(2, M - i0);
#pragma omp for schedule(static)
      for (int64_t t = 0; t < threads; t++)
        for (int64_t r = 0; r < rows; r++) {
          Moments& m = part[2 * t + r];
          P::moments(x + (i0 + r) * K + edge(t), m.count = double(edge(t + 1) - edge(t)), m.mean, m.square);
        }
#pragma omp single
      for (int64_t r = 0; r < rows; r++) settle(i0 + r, part.get() + r, 2);
#pragma omp for schedule(static)
      for (int64_t t = 0; t < threads; t++)
        pieces(t, [&](int64_t j0, int64_t j1) { apply(i0, rows, j0, j1, past); });
    }
  }

  // Or each row is written while the next one is read for its moments: L3, memory and the write go on together,
  // as long as two rows and the weights stay in L3.
  bool overlaps() const { return M >= FEW && K * int64_t(sizeof(T)) >= NEAR && K * int64_t(2 * sizeof(T) + 2 * sizeof(A)) <= LENT; }

  void forward_overlapped(bool past) {
    std::unique_ptr<Moments[]> part(new Moments[threads]);
#pragma omp parallel num_threads(threads) if (threads > 1)
    for (int64_t i = -1; i < M; i++) {
#pragma omp for schedule(static)
      for (int64_t t = 0; t < threads; t++) overlap(i, edge(t), edge(t + 1), part[t], past);
#pragma omp single
      if (i + 1 < M) settle(i + 1, part.get(), 1);
    }
  }
  // Writes row i, if there is one, and takes the moments of row i + 1.
  VISUS_APART void overlap(int64_t i, int64_t j0, int64_t j1, Moments& m, bool past) const {
    if (i + 1 == M) return apply(i, 1, j0, j1, past);
    const T* from = x + i * K + j0;
    m.count = double(j1 - j0);
    if (i < 0) return P::moments(from + K, j1 - j0, m.mean, m.square);
    const A *weight = this->weight ? this->weight + j0 : nullptr, *bias = this->bias ? this->bias + j0 : nullptr;
    const Bend<A> bend = this->bend;
    T* into = y + i * K + j0;
    const V h = all(hi[i]), s = all(inverse[i]), off = all(-lo[i] * inverse[i]);
    P::moments_beside(from + K, j1 - j0, m.mean, m.square, [&](int64_t o) VISUS_HERE {
      constexpr std::integral_constant<int, L> n;
      VISUS_FOUR {
        const int64_t at = o + j * L;
        const V w = number(weight, at, n, 1), b = number(bias, at, n, 0);
        P::put(into + at, act<ACT>(((P::at(from + at, n) - h) * s + off) * w + b, bend), n, past);
      }
    });
    apply(i, 1, j0 + 4 * P::part(j1 - j0, 4), j1, past);
  }

  // The sums of a group of rows, then their dx. A group is two rows where these, the weights and their gradients stay
  // in L3; else all rows, so that x and its gradient come from memory twice, but weights and theirs once.
  void backward_long(bool past) {
    const int64_t group = K * int64_t(4 * sizeof(T) + 3 * sizeof(A)) <= LENT ? 2 : M, many = 2 * std::min(M, group);
    std::unique_ptr<double[]> part(new double[many * threads]), sum(new double[many]);
    std::unique_ptr<A[]> room(new A[(a.dweight && !a.channels ? 0 : K) + (a.dbias && !a.channels ? 0 : K)]);
    A *dw = a.dweight && !a.channels ? (A*)a.dweight : room.get(), *db = a.dbias && !a.channels ? (A*)a.dbias : dw == room.get() ? dw + K : room.get();
#pragma omp parallel num_threads(threads) if (threads > 1)
    for (int64_t i0 = 0; i0 < M; i0 += group) {
      const int64_t i1 = std::min(M, i0 + group);
#pragma omp for schedule(static)
      for (int64_t t = 0; t < threads; t++) sums_of(i0, i1, t, dw, db, part.get() + many * t);
#pragma omp single
      for (int64_t k = 0; k < many; k++) {
        sum[k] = 0;
        for (int64_t t = 0; t < threads; t++) sum[k] += part[many * t + k];
      }
#pragma omp for schedule(static)
      for (int64_t t = 0; t < threads; t++)
        pieces(t, [&](int64_t j0, int64_t j1) {
          for (int64_t i = i1 - 1; i >= i0; i--) write(i, 1, j0, j1, &sum[2 * (i - i0)], past);
        });
    }
    if (a.channels) back(dw, a.dweight), back(db, a.dbias);
  }
  // Of rows i0 to i1, in the columns of thread t
  void sums_of(int64_t i0, int64_t i1, int64_t t, A* dw, A* db, double* into) const {
    std::fill(into, into + 2 * (i1 - i0), 0.0);
    for (int64_t j0 = edge(t); j0 < edge(t + 1); j0 += PIECE) {
      const int64_t j1 = std::min(edge(t + 1), j0 + PIECE);
      int64_t i = i0;
      for (; i + 2 <= i1; i += 2) sums<2>(i, j0, j1, dw, db, i == 0, into + 2 * (i - i0));
      if (i < i1) sums<1>(i, j0, j1, dw, db, i == 0, into + 2 * (i - i0));
    }
  }
};

template <class T> void start(const LayerArgs& a) {
  by_act<T>(int(a.act), [&](auto k) {
    constexpr int ACT = decltype(k)::value;
    if (a.pixels) Pixels<T, ACT>(a).run(); else Rows<T, ACT>(a).run();
  });
}

}  // namespace

// Forward where g is null, else backward.
extern "C" void visus_layer(const LayerArgs* a) {
  switch (a->dtype) {
    case 0: return start<float>(*a);
    case 1: return start<double>(*a);
    case 2: return start<bf16>(*a);
    default: return start<f16>(*a);
  }
}
