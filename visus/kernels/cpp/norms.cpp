// A whole normalization in one call: moments, the N x C algebra and the write, cut so that a
// channel, a sample or a group that fits the cache is read from memory once.
//
// Two kinds of algebra. Mixture: gate xhat_batch + (1 - gate) xhat_instance, which is batch norm
// for gate 1 and instance norm for gate 0. Groups: moments over groups of channels of a sample.
#include <memory>
#include "planes.h"

using namespace visus;

namespace {

struct Args {
  int64_t dtype, last, n, c, s, act, groups, threads, past;  // groups 0: mixture
  const void *x, *g;
  void* y;  // or dx
  const void *weight, *bias, *gate, *fixed_mean, *fixed_var;
  void *running_mean, *running_var;
  void *dweight, *dbias, *dgate;
  double *mean, *inverse;              // saved (N, C) or (N, groups)
  double *batch_mean, *batch_inverse;  // saved (C)
  double eps, alpha, constant, factor;
};

constexpr int64_t BESIDE = 256 << 10;  // bytes of a cut beside which the next one fits
constexpr int64_t NEAR = 768 << 10;  // bytes of a cut that stays in the L2 cache of a core

template <class T> struct Norm {
  typedef Planes<T> P;
  typedef typename P::A A;
  const Args& a;
  const int64_t N, C, S, G;
  const bool last, fixed, batch, instance;  // which parts of the mixture there are
  const T *x = (const T*)a.x, *g = (const T*)a.g;
  T* y = (T*)a.y;
  int64_t parts = 1, rows = 0;  // channels-last: a sample is cut in parts of so many rows
  std::unique_ptr<double[]> plane;  // (N, C) twice: mean and var, or the sums of h and h d
  std::unique_ptr<double[]> piece;  // (N, parts, C) twice
  std::unique_ptr<A[]> small;       // (N or 1, C) seven times
  A* numbered[7];
  int64_t own;                      // stride of the small numbers over n
  int64_t ahead = 0;                // from a cut to the next, where that fits beside it in the cache

  explicit Norm(const Args& args)
      : a(args), N(args.n), C(args.c), S(args.s), G(args.groups), last(args.last), fixed(args.fixed_mean),
        batch(!args.groups && (args.gate || args.constant != 0)), instance(!args.groups && (args.gate || args.constant != 1)) {
    own = G || instance ? C : 0;
    plane.reset(new double[2 * N * C]);
    small.reset(new A[7 * (own ? N : 1) * C]);
    for (int k = 0; k < 7; k++) numbered[k] = small.get() + k * (own ? N : 1) * C;
    if (last) {
      rows = std::max<int64_t>(16, (int64_t(1) << 16) / C);
      parts = (S + rows - 1) / rows;
      if (parts > 1) piece.reset(new double[2 * N * parts * C]);
    }
  }

  double* first(int64_t n) { return plane.get() + n * C; }
  double* second(int64_t n) { return plane.get() + (N + n) * C; }
  A* number(int which, int64_t n) { return numbered[which] + n * own; }
  double weight(int64_t c) const { return a.weight ? double(((const A*)a.weight)[c]) : 1.0; }
  double bias(int64_t c) const { return a.bias ? double(((const A*)a.bias)[c]) : 0.0; }
  double gate(int64_t c) const { return a.gate ? double(((const A*)a.gate)[c]) : a.constant; }

  // ---- how the work is cut -------------------------------------------------------------
  // A step is called with (n0, n1, c0, c1, phase, part): phase 0 reads, 1 does the algebra, 2
  // writes; part is one of a channels-last sample, or -1 for all of them.

  typedef void (Norm::*Step)(int64_t, int64_t, int64_t, int64_t, int, int64_t);

  void run(Step step) {
    auto f = [&](int64_t n0, int64_t n1, int64_t c0, int64_t c1, int phase, int64_t part) { (this->*step)(n0, n1, c0, c1, phase, part); };
    const int threads = int(a.threads);
    const bool across = batch && !fixed;  // samples depend on each other
    const int64_t block = across ? std::max<int64_t>(1, std::min<int64_t>(C, NEAR / 2 / std::max<int64_t>(1, N * S * int64_t(sizeof(T)))))
                                 : G ? C / G : std::max<int64_t>(1, std::min<int64_t>(C, 32768 / (S * int64_t(sizeof(T)))));
    if (!last && (!across || C / block >= threads || threads == 1)) {
      int64_t wide = block;
      if (across) while (wide > 1 && (C + wide - 1) / wide < 2 * threads) wide = (wide + 1) / 2;
      if (across && threads > 1 && C % (wide * threads)) while (wide > 1 && ((C + wide - 1) / wide) % threads) wide--;
      const int64_t blocks = (C + wide - 1) / wide, items = across ? blocks : N * blocks;
      if ((across ? N : 1) * wide * S * int64_t(sizeof(T)) * (g ? 2 : 1) <= BESIDE) ahead = wide * S;
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
      const A alpha = A(a.alpha);
      if (phase == 1) return scales(n0, n1, c0, c1, true);
      if (phase == 0 && batch && fixed && !instance) return;
      for (int64_t n = n0; n < n1; n++) {
        if (G && !last && phase == 0)  // the planes of a group lie together
          P::moments(x + (n * C + c0) * S, (c1 - c0) * S, first(n)[c0], second(n)[c0]);
        else if (last && phase == 0)
          read_rows(n, part, [&](int64_t r, int64_t count, double* m, double* v) { P::moments_rows(x + (n * S + r) * C, count, C, m, v); });
        else if (last)
          each_part(part, [&](int64_t r, int64_t count) { int64_t o = (n * S + r) * C; P::template apply_rows<ACT>(x + o, y + o, count, C, wide(n), alpha, a.past); });
        else {
            const int64_t o = (n * C + c0) * S;
            if (phase == 0) P::moments_planes(x + o, c1 - c0, S, first(n) + c0, second(n) + c0);
            else P::template apply_planes<ACT>(x + o, y + o, c1 - c0, S, wide(n, c0), alpha, a.past, ahead);
        }
      }
  }
  typename P::Wide wide(int64_t n, int64_t c = 0) {
    auto at = [&](int k) { return number(k, n) + c; };
    return {at(0), at(2), at(3), at(4), at(5), at(6)};
  }
  VISUS_INLINE void center(int64_t n, int64_t c, double mean, double scale, double shift) {
    A hi = A(mean);
    number(0, n)[c] = hi;
    const double lo = mean - double(hi);  // what the kernels see of the mean is hi; the rest goes into the shift
    number(1, n)[c] = A(lo);
    number(2, n)[c] = A(scale);
    number(3, n)[c] = A(shift - lo * scale);
  }

  bool ready = false;  // the same numbers for all cuts are there

  // Eval mode: the given moments, before the work is cut.
  void fix() {
    if (!batch || !fixed) return;
    for (int64_t c = 0; c < C; c++) {
      a.batch_mean[c] = double(((const A*)a.fixed_mean)[c]);
      a.batch_inverse[c] = 1.0 / std::sqrt(double(((const A*)a.fixed_var)[c]) + a.eps);
    }
    if (own) return;
    scales(0, 1, 0, C, false);
    for (int64_t c = 0; c < C; c++) slope(0, c, weight(c) * a.batch_inverse[c], 0, 0);
    ready = true;
  }
  void run_forward(Step step) {
    fix();
    run(step);
  }

  // Moments -> saved means and 1 / sigma -> hi, lo, a, b - lo a. In backward (fresh false) from the saved.
  void scales(int64_t n0, int64_t n1, int64_t c0, int64_t c1, bool fresh) {
    if (G) return group_scales(n0, n1, c0, c1, fresh);
    if (batch && fresh && !fixed) batch_moments(n0, n1, c0, c1);
    if (!own) {
      if (fixed && ready) return;
      for (int64_t c = c0; c < c1; c++) center(0, c, a.batch_mean[c], weight(c) * a.batch_inverse[c], bias(c));
      return;
    }
    for (int64_t n = n0; n < n1; n++) {
      double *mean = a.mean + n * C, *inverse = a.inverse + n * C;
      if (fresh)
        for (int64_t c = c0; c < c1; c++) { mean[c] = first(n)[c]; inverse[c] = 1.0 / std::sqrt(second(n)[c] + a.eps); }
      for (int64_t c = c0; c < c1; c++) {
        double w = weight(c), rho = gate(c), scale = inverse[c] * (1 - rho), shift = bias(c);
        if (batch) { scale += rho * a.batch_inverse[c]; shift += w * rho * (mean[c] - a.batch_mean[c]) * a.batch_inverse[c]; }
        center(n, c, mean[c], w * scale, shift);
      }
    }
  }
  void batch_moments(int64_t n0, int64_t n1, int64_t c0, int64_t c1) {
    const double count = double(N) * double(S);
    for (int64_t c = c0; c < c1; c++) {
      double mean = 0, var = 0;
      for (int64_t n = n0; n < n1; n++) mean += first(n)[c];
      mean /= double(N);
      for (int64_t n = n0; n < n1; n++) { double d = first(n)[c] - mean; var += second(n)[c] + d * d; }
      var /= double(N);
      a.batch_mean[c] = mean;
      a.batch_inverse[c] = 1.0 / std::sqrt(var + a.eps);
      if (a.running_mean) move(c, mean, var * (count / std::max(count - 1, 1.0)));
    }
  }
  void move(int64_t c, double mean, double var) {
    A &m = ((A*)a.running_mean)[c], &v = ((A*)a.running_var)[c];
    m = A(double(m) + a.factor * (mean - double(m)));
    v = A(double(v) + a.factor * (var - double(v)));
  }
  void group_scales(int64_t n0, int64_t n1, int64_t c0, int64_t c1, bool fresh) {
    const int64_t D = C / G;
    for (int64_t n = n0; n < n1; n++)
      for (int64_t q = c0 / D; q < c1 / D; q++) {
        double &mean = a.mean[n * G + q], &inverse = a.inverse[n * G + q];
        if (fresh && !last) {
          mean = first(n)[q * D];
          inverse = 1.0 / std::sqrt(second(n)[q * D] + a.eps);
        } else if (fresh) {
          double m = 0, v = 0;
          for (int64_t c = q * D; c < (q + 1) * D; c++) m += first(n)[c];
          m /= double(D);
          for (int64_t c = q * D; c < (q + 1) * D; c++) { double d = first(n)[c] - m; v += second(n)[c] + d * d; }
          mean = m;
          inverse = 1.0 / std::sqrt(v / double(D) + a.eps);
        }
        for (int64_t c = q * D; c < (q + 1) * D; c++) center(n, c, mean, weight(c) * inverse, bias(c));
      }
  }

  // ---- backward ------------------------------------------------------------------------

  bool once = false;  // each cut prepares its own numbers

  void run_backward(Step step) {
    summing = true;
    fix();
    once = !last && own;
    if (!once) scales(0, N, 0, C, false);
    run(step);
    parameters();
  }

  template <int ACT> void backward(int64_t n0, int64_t n1, int64_t c0, int64_t c1, int phase, int64_t part) {
      const A alpha = A(a.alpha);
      if (phase == 1) return pulls(n0, n1, c0, c1);
      if (phase == 0 && once) scales(n0, n1, c0, c1, false);
      for (int64_t n = n0; n < n1; n++) {
        if (last && phase == 0)
          read_rows(n, part, [&](int64_t r, int64_t count, double* sg, double* sx) {
            int64_t o = (n * S + r) * C;
            for (int64_t c = 0; c < C; c++) sg[c] = sx[c] = 0;
            P::template sums_rows<ACT>(g + o, x + o, count, C, wide(n), alpha, sg, sx);
          });
        else if (last)
          each_part(part, [&](int64_t r, int64_t count) { int64_t o = (n * S + r) * C; P::template write_rows<ACT>(g + o, x + o, y + o, count, C, wide(n), alpha, a.past); });
        else {
            const int64_t o = (n * C + c0) * S;
            if (phase == 0) P::template sums_planes<ACT>(g + o, x + o, c1 - c0, S, wide(n, c0), alpha, first(n) + c0, second(n) + c0);
            else P::template write_planes<ACT>(g + o, x + o, y + o, c1 - c0, S, wide(n, c0), alpha, a.past, ahead);
        }
      }
  }

  VISUS_INLINE void slope(int64_t n, int64_t c, double p, double q, double r) {
    number(4, n)[c] = A(p);
    number(5, n)[c] = A(q);
    number(6, n)[c] = A(r - q * double(number(1, n)[c]));
  }

  // Sums of h and h d (d = x - center) -> p, q, r of dx = p h + q d + r.
  void pulls(int64_t n0, int64_t n1, int64_t c0, int64_t c1) {
    for (int64_t n = n0; n < n1; n++)  // d was x - hi
      for (int64_t c = c0; c < c1; c++) second(n)[c] -= double(number(1, n)[c]) * first(n)[c];
    if (G) return group_pulls(n0, n1, c0, c1);
    if (ready) return;
    const double count = double(N) * double(S), size = double(S);
    for (int64_t c = c0; c < c1; c++) {
      const double w = weight(c), rho = gate(c), ib = batch ? a.batch_inverse[c] : 0, mb = batch ? a.batch_mean[c] : 0;
      double h = 0, hd = 0;
      if (batch && !fixed)
        for (int64_t n = n0; n < n1; n++) {
          h += first(n)[c];
          hd += second(n)[c] + (own ? (a.mean[n * C + c] - mb) * first(n)[c] : 0.0);
        }
      const double q = fixed ? 0.0 : w * rho * ib * ib * ib * hd / count, r = fixed ? 0.0 : w * rho * ib * h / count;
      if (!own) {
        slope(0, c, w * ib, -q, -r);
        continue;
      }
      for (int64_t n = n0; n < n1; n++) {
        const double ii = a.inverse[n * C + c], wi = w * (1 - rho) * ii, off = batch ? a.mean[n * C + c] - mb : 0.0;
        slope(n, c, w * rho * ib + wi, -q - wi * ii * ii * second(n)[c] / size, -r - off * q - wi * first(n)[c] / size);
      }
    }
  }
  void group_pulls(int64_t n0, int64_t n1, int64_t c0, int64_t c1) {
    const int64_t D = C / G;
    const double size = double(D) * double(S);
    for (int64_t n = n0; n < n1; n++)
      for (int64_t k = c0 / D; k < c1 / D; k++) {
        const double i = a.inverse[n * G + k];
        double h = 0, hd = 0;
        for (int64_t c = k * D; c < (k + 1) * D; c++) { h += weight(c) * first(n)[c]; hd += weight(c) * second(n)[c]; }
        for (int64_t c = k * D; c < (k + 1) * D; c++) slope(n, c, weight(c) * i, -i * i * i * hd / size, -i * h / size);
      }
  }
  // Gradients of weight, bias and gate: sums over the samples.
  void parameters() {
    if (!a.dweight && !a.dbias && !a.dgate) return;
    const int64_t D = G ? C / G : 1;
    std::unique_ptr<double[]> total(new double[3 * C]());
    double *dw = total.get(), *db = dw + C, *dg = db + C;
    for (int64_t n = 0; n < N; n++) {
      const double *h = first(n), *hd = second(n);
      for (int64_t c = 0; c < C; c++) db[c] += h[c];
      if (G) {
        for (int64_t q = 0; q < G; q++)
          for (int64_t c = q * D; c < (q + 1) * D; c++) dw[c] += hd[c] * a.inverse[n * G + q];
      } else if (!own) {
        for (int64_t c = 0; c < C; c++) dw[c] += hd[c] * a.batch_inverse[c];
      } else {
        const double *mean = a.mean + n * C, *inverse = a.inverse + n * C;
        for (int64_t c = 0; c < C; c++) {
          const double rho = gate(c), i = inverse[c] * hd[c], b = batch ? a.batch_inverse[c] * (hd[c] + (mean[c] - a.batch_mean[c]) * h[c]) : 0.0;
          dw[c] += rho * b + (1 - rho) * i;
          dg[c] += weight(c) * (b - i);
        }
      }
    }
    void* out[3] = {a.dweight, a.dbias, a.dgate};
    for (int k = 0; k < 3; k++)
      if (out[k]) for (int64_t c = 0; c < C; c++) ((A*)out[k])[c] = A(total[k * C + c]);
  }
};

template <class T> void start(const Args& a) {
  Norm<T> norm(a);
  auto by_act = [&](auto k) {
    constexpr int ACT = decltype(k)::value;
    if (a.g) norm.run_backward(&Norm<T>::template backward<ACT>); else norm.run_forward(&Norm<T>::template forward<ACT>);
  };
  switch (a.act) {
    case RELU: return by_act(std::integral_constant<int, RELU>());
    case LEAKY: return by_act(std::integral_constant<int, LEAKY>());
    case ELU: return by_act(std::integral_constant<int, ELU>());
    case SIGMOID: return by_act(std::integral_constant<int, SIGMOID>());
    case TANH: return by_act(std::integral_constant<int, TANH>());
    default: return by_act(std::integral_constant<int, NONE>());
  }
}

}  // namespace

// Forward where g is null, else backward.
extern "C" void visus_norm(const Args* given) {
  Args a = *given;
  if (a.last && !a.groups && !a.gate && a.constant == 1) { a.s *= a.n; a.n = 1; }  // one long sample
  switch (a.dtype) {
    case 0: return start<float>(a);
    case 1: return start<double>(a);
    case 2: return start<bf16>(a);
    default: return start<f16>(a);
  }
}
