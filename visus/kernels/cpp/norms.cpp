// A whole normalization in one call: moments, the N x C algebra and the write, cut so that a
// channel, a sample or a group that fits the cache is read from memory once.
//
// Two kinds of algebra. Mixture: gate xhat_batch + (1 - gate) xhat_instance, which is batch norm
// for gate 1 and instance norm for gate 0. Groups: moments over groups of channels of a sample.
#include "algebra.h"
#include "passes.h"

using namespace visus;

namespace {

constexpr int64_t BESIDE = 256 << 10;  // bytes of a cut beside which the next one fits
constexpr int64_t NEAR = 768 << 10;  // bytes of a cut that stays in the L2 cache of a core

template <class T> struct Norm : Algebra<T> {
  typedef Algebra<T> B;
  typedef Strips<T> P;
  typedef typename P::A A;
  using B::B, B::a, B::N, B::C, B::S, B::G, B::last, B::fixed, B::batch, B::instance, B::x, B::g, B::y, B::parts, B::rows;
  using B::piece, B::own, B::reading, B::ahead, B::first, B::second, B::wide, B::fix, B::scales, B::pulls;

  // ---- how the work is cut -------------------------------------------------------------
  // A step is called with (n0, n1, c0, c1, phase, part): phase 0 reads, 1 does the algebra, 2
  // writes; part is one of a channels-last sample, or -1 for all of them.

  typedef void (Norm::*Step)(int64_t, int64_t, int64_t, int64_t, int, int64_t);

  void run(Step step) {
    auto f = [&](int64_t n0, int64_t n1, int64_t c0, int64_t c1, int phase, int64_t part) { (this->*step)(n0, n1, c0, c1, phase, part); };
    const int threads = int(a.threads);
    const bool across = batch && !fixed;  // samples depend on each other
    const int64_t unit = G ? C / G : 1;  // channels that belong together
    const int64_t block = across ? std::max<int64_t>(1, std::min<int64_t>(C, NEAR / 2 / std::max<int64_t>(1, N * S * int64_t(sizeof(T)))))
                                 : unit * std::max<int64_t>(1, std::min<int64_t>(C, 32768 / (S * int64_t(sizeof(T)))) / unit);
    reading = across ? C * S : g ? 0 : std::min<int64_t>((G ? unit : block) * S, TILE);
    if (!last && (!across || C / block >= threads || threads == 1)) {
      int64_t wide = block;
      if (across) while (wide > 1 && (C + wide - 1) / wide < 2 * threads) wide = (wide + 1) / 2;
      if (across && threads > 1 && C % (wide * threads)) while (wide > 1 && ((C + wide - 1) / wide) % threads) wide--;
      const int64_t blocks = (C + wide - 1) / wide, items = across ? blocks : N * blocks;
      if (reading && (across ? N : 1) * wide * S * int64_t(sizeof(T)) * (g ? 2 : 1) <= BESIDE) ahead = wide * S;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
      for (int64_t i = 0; i < items; i++) {
        int64_t n0 = across ? 0 : i / blocks, n1 = across ? N : n0 + 1;
        int64_t c0 = (across ? i : i % blocks) * wide, c1 = std::min(C, c0 + wide);
        for (int phase = 0; phase < 3; phase++) f(n0, n1, c0, c1, phase, -1);
      }
    } else if (!across && (N >= 2 * threads || (N % threads == 0) || parts == 1)) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
      for (int64_t n = 0; n < N; n++)
        for (int phase = 0; phase < 3; phase++) f(n, n + 1, 0, C, phase, -1);
    } else {
      const int64_t cuts = last ? parts : C, items = N * cuts;
#pragma omp parallel num_threads(threads) if (threads > 1)
      {
        for (int phase = 0; phase < 3; phase += 2) {
#pragma omp for schedule(static)
          for (int64_t i = 0; i < items; i++) {
            int64_t j = phase ? items - 1 - i : i;  // what was read last is still near
            int64_t n = j / cuts, k = j % cuts;
            if (last) f(n, n + 1, 0, C, phase, k); else f(n, n + 1, k, k + 1, phase, -1);
          }
          if (phase == 0) {
#pragma omp single
            {
              if (last && parts > 1) for (int64_t n = 0; n < N; n++) merge(n);
              f(0, N, 0, C, 1, -1);
            }
          }
        }
      }
    }
    if (a.past) fence();
  }

  const Bend<A> bend{A(a.alpha), int(a.act)};
  bool summing = false;  // the pieces are sums, not moments

  // The parts of sample n, in their order whoever made them.
  void merge(int64_t n) {
    double *m = first(n), *v = second(n);
    const double *pm = piece.get() + n * parts * C, *pv = pm + N * parts * C;
    for (int64_t c = 0; c < C; c++) { m[c] = pm[c]; v[c] = pv[c]; }
    for (int64_t k = 1; k < parts; k++) {
      const double *qm = pm + k * C, *qv = pv + k * C;
      if (summing) {
        for (int64_t c = 0; c < C; c++) { m[c] += qm[c]; v[c] += qv[c]; }
      } else {
        double before = double(k * rows), here = double(std::min(rows, S - k * rows)), share = here / (before + here);
        for (int64_t c = 0; c < C; c++) {
          double d = qm[c] - m[c];
          m[c] += d * share;
          v[c] += qv[c] + d * d * before * share;
        }
      }
    }
    if (!summing) for (int64_t c = 0; c < C; c++) v[c] = v[c] / double(S);
  }

  // Channels-last: calls f(part's first row, rows, two arrays of C for its result).
  template <class F> void read_rows(int64_t n, int64_t only, F f) {
    for (int64_t k = only < 0 ? 0 : only; k < (only < 0 ? parts : only + 1); k++) {
      double *m = parts == 1 ? first(n) : piece.get() + (n * parts + k) * C, *v = parts == 1 ? second(n) : m + N * parts * C;
      f(k * rows, std::min(rows, S - k * rows), m, v);
    }
    if (parts > 1 && only < 0) merge(n);
    if (parts == 1 && !summing) for (int64_t c = 0; c < C; c++) second(n)[c] /= double(S);
  }
  template <class F> void each_part(int64_t only, F f) {
    if (only >= 0) f(only * rows, std::min(rows, S - only * rows)); else f(0, S);
  }

  // ---- forward -------------------------------------------------------------------------

  template <int ACT> void forward(int64_t n0, int64_t n1, int64_t c0, int64_t c1, int phase, int64_t part) {
      if (phase == 1) return scales(n0, n1, c0, c1, true);
      if (phase == 0 && batch && fixed && !instance) return;
      for (int64_t n = n0; n < n1; n++) {
        if (G && !last && phase == 0)  // the planes of a group lie together
          for (int64_t c = c0, D = C / G; c < c1; c += D) P::moments(x + (n * C + c) * S, D * S, first(n)[c], second(n)[c], reading);
        else if (last && phase == 0)
          read_rows(n, part, [&](int64_t r, int64_t count, double* m, double* v) { P::moments_rows(x + (n * S + r) * C, count, C, m, v); });
        else if (last)
          each_part(part, [&](int64_t r, int64_t count) { int64_t o = (n * S + r) * C; P::template apply_rows<ACT>(x + o, y + o, count, C, wide(n), bend, a.past); });
        else {
            const int64_t o = (n * C + c0) * S;
            if (phase == 0) P::moments_planes(x + o, c1 - c0, S, first(n) + c0, second(n) + c0, reading);
            else P::template apply_planes<ACT>(x + o, y + o, c1 - c0, S, wide(n, c0), bend, a.past, ahead);
        }
      }
  }
  void run_forward(Step step) {
    fix();
    run(step);
  }

  // ---- backward ------------------------------------------------------------------------

  bool once = false;  // each cut prepares its own numbers

  void run_backward(Step step) {
    summing = true;
    fix();
    once = !last && own;
    if (!once) scales(0, N, 0, C, false);
    run(step);
  }

  template <int ACT> void backward(int64_t n0, int64_t n1, int64_t c0, int64_t c1, int phase, int64_t part) {
      if (phase == 1) return pulls(n0, n1, c0, c1);
      if (phase == 0 && once) scales(n0, n1, c0, c1, false);
      for (int64_t n = n0; n < n1; n++) {
        if (last && phase == 0)
          read_rows(n, part, [&](int64_t r, int64_t count, double* sg, double* sx) {
            int64_t o = (n * S + r) * C;
            for (int64_t c = 0; c < C; c++) sg[c] = sx[c] = 0;
            P::template sums_rows<ACT>(g + o, x + o, count, C, wide(n), bend, sg, sx);
          });
        else if (last)
          each_part(part, [&](int64_t r, int64_t count) { int64_t o = (n * S + r) * C; P::template write_rows<ACT>(g + o, x + o, y + o, count, C, wide(n), bend, a.past); });
        else {
            const int64_t o = (n * C + c0) * S;
            if (phase == 0) P::template sums_planes<ACT>(g + o, x + o, c1 - c0, S, wide(n, c0), bend, first(n) + c0, second(n) + c0, reading);
            else P::template write_planes<ACT>(g + o, x + o, y + o, c1 - c0, S, wide(n, c0), bend, a.past, ahead);
        }
      }
  }
};

template <class T> void start(const Args& a) {
  Norm<T> norm(a);
  by_act<T>(int(a.act), [&](auto k) {
    constexpr int ACT = decltype(k)::value;
    if (a.g) norm.run_backward(&Norm<T>::template backward<ACT>);
    else norm.run_forward(&Norm<T>::template forward<ACT>);
    if (a.g) norm.parameters();
  });
}

template <class T> void start(const PassArgs& a) {
  by_act<T>(int(a.act), [&](auto k) { Passes<T, decltype(k)::value>{a}.run(); });
}

template <class F> void by_dtype(int64_t dtype, F f) {
  switch (dtype) {
    case 0: return f(float());
    case 1: return f(double());
    case 2: return f(bf16());
    default: return f(f16());
  }
}

}  // namespace

// Forward where g is null, else backward.
extern "C" void visus_norm(const Args* given) {
  Args a = *given;
  if (a.last && !a.groups && !a.gate && a.constant == 1) { a.s *= a.n; a.n = 1; }  // one long sample
  by_dtype(a.dtype, [&](auto t) { start<decltype(t)>(a); });
}

extern "C" void visus_pass(const PassArgs* a) {
  by_dtype(a->dtype, [&](auto t) { start<decltype(t)>(*a); });
}
