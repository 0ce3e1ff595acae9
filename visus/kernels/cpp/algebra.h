// The N x C algebra of a norm: how moments become the numbers that the passes over planes take,
// how sums become those of the gradient, and the gradients of weight, bias and gate.
#pragma once
#include <memory>
#include "args.h"
#include "strips.h"

namespace visus {

typedef NormArgs Args;

// Each loop over channels is one of vectors: what it needs lies in locals, and its arrays do not overlap.
#define VISUS_CHANNELS(from, to) _Pragma("omp simd") for (int64_t c = from; c < to; c++)

template <class T> struct Algebra {
  typedef Strips<T> P;
  typedef typename P::A A;
  const Args& a;
  const int64_t N, C, S, G;
  const bool last, fixed, batch, instance;  // which parts of the mixture there are
  const T *x = (const T*)a.x, *g = (const T*)a.g;
  T* y = (T*)a.y;
  int64_t parts = 1, rows = 0;  // channels-last: a sample is cut in parts of so many rows
  std::unique_ptr<double[]> plane;  // (N, C) twice: mean and var, or the sums of h and h d
  std::unique_ptr<double[]> piece;  // (N, parts, C) twice
  std::unique_ptr<double[]> given;  // (C) five times: weight, bias and gate in float64, and room for two sums
  double *weight, *bias, *gate;
  std::unique_ptr<A[]> small;       // (N or 1, C) seven times
  A* numbered[7];
  int64_t own;                      // stride of the small numbers over n
  int64_t reading = 0;              // from a plane to the one that is read next
  int64_t ahead = 0;                // from a cut to the next, where that fits beside it in the cache

  explicit Algebra(const Args& args)
      : a(args), N(args.n), C(args.c), S(args.s), G(args.groups), last(args.last), fixed(args.fixed_mean),
        batch(!args.groups && (args.gate || args.constant != 0)), instance(!args.groups && (args.gate || args.constant != 1)) {
    own = G || instance ? C : 0;
    plane.reset(new double[2 * N * C]);
    given.reset(new double[5 * C]);
    weight = take(0, a.weight, 1), bias = take(1, a.bias, 0), gate = take(2, a.gate, batch ? a.constant : 0);
    const int64_t many = (own ? N : 1) * C + 80;  // not a power of 2 from one array to the next
    small.reset(new A[7 * many]);
    for (int k = 0; k < 7; k++) numbered[k] = small.get() + k * many;
    if (last) {
      rows = std::max<int64_t>(16, (int64_t(1) << 16) / C);
      parts = (S + rows - 1) / rows;
      if (parts > 1) piece.reset(new double[2 * N * parts * C]);
    }
  }
  double* take(int which, const void* from, double otherwise) const {
    double* into = given.get() + which * C;
    const A* numbers = (const A*)from;
    if (numbers) VISUS_CHANNELS(0, C) into[c] = double(numbers[c]); else std::fill(into, into + C, otherwise);
    return into;
  }

  double* first(int64_t n) { return plane.get() + n * C; }
  double* second(int64_t n) { return plane.get() + (N + n) * C; }
  A* number(int which, int64_t n) { return numbered[which] + n * own; }
  // Mean and 1 / sigma of the batch. Where there is no such part the gate is 0, and so may they be.
  const double* batch_mean() const { return batch ? a.batch_mean : gate; }
  const double* batch_inverse() const { return batch ? a.batch_inverse : gate; }

  // ---- forward -------------------------------------------------------------------------

  typename P::Wide wide(int64_t n, int64_t c = 0) {
    auto at = [&](int k) { return number(k, n) + c; };
    return {at(0), at(2), at(3), at(4), at(5), at(6)};
  }
  // What the kernels see of the mean is hi; the rest goes into the shift.
  struct Centers {
    A *hi, *lo, *scale, *shift;
    VISUS_INLINE void set(int64_t c, double mean, double slope, double offset) const {
      hi[c] = A(mean);
      const double low = mean - double(hi[c]);
      lo[c] = A(low), scale[c] = A(slope), shift[c] = A(offset - low * slope);
    }
  };
  Centers centers(int64_t n) { return {number(0, n), number(1, n), number(2, n), number(3, n)}; }

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
    const Pulls to = slopes(0);
    for (int64_t c = 0; c < C; c++) to.set(c, weight[c] * a.batch_inverse[c], 0, 0);
    ready = true;
  }

  // Moments -> saved means and 1 / sigma -> hi, lo, a, b - lo a. In backward (fresh false) from the saved.
  void scales(int64_t n0, int64_t n1, int64_t c0, int64_t c1, bool fresh) {
    if (G) return group_scales(n0, n1, c0, c1, fresh);
    if (batch && fresh && !fixed) batch_moments(n0, n1, c0, c1);
    const double *w = weight, *b = bias, *rho = gate, *bm = batch_mean(), *bi = batch_inverse(), eps = a.eps;
    if (!own) {
      if (fixed && ready) return;
      const Centers to = centers(0);
      VISUS_CHANNELS(c0, c1) to.set(c, bm[c], w[c] * bi[c], b[c]);
      return;
    }
    for (int64_t n = n0; n < n1; n++) {
      double *mean = a.mean + n * C, *inverse = a.inverse + n * C;
      const double *m = first(n), *v = second(n);
      if (fresh) VISUS_CHANNELS(c0, c1) mean[c] = m[c], inverse[c] = 1.0 / std::sqrt(v[c] + eps);
      const Centers to = centers(n);
      VISUS_CHANNELS(c0, c1) {
        const double mixed = rho[c] * bi[c];
        to.set(c, mean[c], w[c] * (inverse[c] * (1 - rho[c]) + mixed), b[c] + w[c] * mixed * (mean[c] - bm[c]));
      }
    }
  }
  void batch_moments(int64_t n0, int64_t n1, int64_t c0, int64_t c1) {
    const double count = double(N) * double(S), samples = double(N), eps = a.eps;
    double *mean = a.batch_mean, *inverse = a.batch_inverse, *var = given.get() + 3 * C;
    std::fill(mean + c0, mean + c1, 0.0), std::fill(var + c0, var + c1, 0.0);
    for (int64_t n = n0; n < n1; n++) {
      const double* m = first(n);
      VISUS_CHANNELS(c0, c1) mean[c] += m[c];
    }
    VISUS_CHANNELS(c0, c1) mean[c] /= samples;
    for (int64_t n = n0; n < n1; n++) {
      const double *m = first(n), *v = second(n);
      VISUS_CHANNELS(c0, c1) { const double d = m[c] - mean[c]; var[c] += v[c] + d * d; }
    }
    VISUS_CHANNELS(c0, c1) var[c] /= samples, inverse[c] = 1.0 / std::sqrt(var[c] + eps);
    if (a.running_mean) for (int64_t c = c0; c < c1; c++) move(c, mean[c], var[c] * (count / std::max(count - 1, 1.0)));
  }
  void move(int64_t c, double mean, double var) {
    A &m = ((A*)a.running_mean)[c], &v = ((A*)a.running_var)[c];
    m = A(double(m) + a.factor * (mean - double(m)));
    v = A(double(v) + a.factor * (var - double(v)));
  }
  void group_scales(int64_t n0, int64_t n1, int64_t c0, int64_t c1, bool fresh) {
    const int64_t D = C / G, q0 = c0 / D, q1 = c1 / D;
    const double *w = weight, *b = bias, eps = a.eps;
    for (int64_t n = n0; n < n1; n++) {
      double *mean = a.mean + n * G, *inverse = a.inverse + n * G, *m = first(n), *v = second(n);
      for (int64_t q = q0; q < q1 && fresh; q++) {
        if (last) merge_group(m, v, q * D, (q + 1) * D);
        mean[q] = m[q * D], inverse[q] = v[q * D];
      }
#pragma omp simd
      for (int64_t q = q0; q < (fresh ? q1 : q0); q++) inverse[q] = 1.0 / std::sqrt(inverse[q] + eps);
      const Centers into = centers(n);
      for (int64_t q = q0; q < q1; q++) {
        const double center = mean[q], slope = inverse[q];
        VISUS_CHANNELS(q * D, (q + 1) * D) into.set(c, center, w[c] * slope, b[c]);
      }
    }
  }
  // Moments of the channels of a group, to those of its first
  static void merge_group(double* means, double* vars, int64_t from, int64_t to) {
    double m = 0, v = 0;
#pragma omp simd reduction(+ : m)
    for (int64_t c = from; c < to; c++) m += means[c];
    m /= double(to - from);
#pragma omp simd reduction(+ : v)
    for (int64_t c = from; c < to; c++) { const double d = means[c] - m; v += vars[c] + d * d; }
    means[from] = m, vars[from] = v / double(to - from);
  }

  // ---- backward ------------------------------------------------------------------------

  struct Pulls {
    const A* lo;
    A *p, *q, *r;
    VISUS_INLINE void set(int64_t c, double mine, double slope, double rest) const {
      p[c] = A(mine), q[c] = A(slope), r[c] = A(rest - slope * double(lo[c]));
    }
  };
  Pulls slopes(int64_t n) { return {number(1, n), number(4, n), number(5, n), number(6, n)}; }

  // Sums of h and h d (d = x - center) -> p, q, r of dx = p h + q d + r.
  void pulls(int64_t n0, int64_t n1, int64_t c0, int64_t c1) {
    for (int64_t n = n0; n < n1; n++) {  // d was x - hi
      const double* h = first(n);
      double* hd = second(n);
      const A* lo = number(1, n);
      VISUS_CHANNELS(c0, c1) hd[c] -= double(lo[c]) * h[c];
    }
    if (G) return group_pulls(n0, n1, c0, c1);
    if (ready) return;
    double *q = given.get() + 3 * C, *r = q + C;  // what all samples share
    const double *w = weight, *rho = gate, *bm = batch_mean(), *bi = batch_inverse(), share = fixed ? 0.0 : 1.0 / (double(N) * double(S)), alone = 1.0 / double(S);
    std::fill(q + c0, q + c1, 0.0), std::fill(r + c0, r + c1, 0.0);
    if (batch && !fixed)
      for (int64_t n = n0; n < n1; n++) {
        const double *h = first(n), *hd = second(n), *mean = own ? a.mean + n * C : bm;
        VISUS_CHANNELS(c0, c1) r[c] += h[c], q[c] += hd[c] + (mean[c] - bm[c]) * h[c];
      }
    VISUS_CHANNELS(c0, c1) { const double f = w[c] * rho[c] * bi[c] * share; q[c] *= f * bi[c] * bi[c], r[c] *= f; }
    for (int64_t n = n0; n < (own ? n1 : n0 + 1); n++) {
      const Pulls to = slopes(own ? n : 0);
      if (!own) {
        VISUS_CHANNELS(c0, c1) to.set(c, w[c] * bi[c], -q[c], -r[c]);
        return;
      }
      const double *h = first(n), *hd = second(n), *mean = a.mean + n * C, *inverse = a.inverse + n * C;
      VISUS_CHANNELS(c0, c1) {
        const double ii = inverse[c], wi = w[c] * (1 - rho[c]) * ii, f = wi * alone;
        to.set(c, w[c] * rho[c] * bi[c] + wi, -q[c] - f * ii * ii * hd[c], -r[c] - (mean[c] - bm[c]) * q[c] - f * h[c]);
      }
    }
  }
  void group_pulls(int64_t n0, int64_t n1, int64_t c0, int64_t c1) {
    const int64_t D = C / G;
    const double share = 1.0 / (double(D) * double(S)), *w = weight;
    for (int64_t n = n0; n < n1; n++)
      for (int64_t k = c0 / D; k < c1 / D; k++) {
        const double i = a.inverse[n * G + k];
        double h = 0, hd = 0;
        weighted(first(n), second(n), k * D, (k + 1) * D, h, hd);
        const Pulls to = slopes(n);
        VISUS_CHANNELS(k * D, (k + 1) * D) to.set(c, w[c] * i, -i * i * i * hd * share, -i * h * share);
      }
  }
  // Sums of a group, each plane by its weight
  void weighted(const double* sums, const double* products, int64_t from, int64_t to, double& h, double& hd) const {
    const double* w = weight;
    double s = 0, p = 0;
#pragma omp simd reduction(+ : s, p)
    for (int64_t c = from; c < to; c++) s += w[c] * sums[c], p += w[c] * products[c];
    h = s, hd = p;
  }
  // Gradients of weight, bias and gate: sums over the samples.
  void parameters() {
    if (!a.dweight && !a.dbias && !a.dgate) return;
    std::unique_ptr<double[]> total(new double[3 * C]());
    double *dw = total.get(), *db = dw + C, *dg = db + C;
    const double *w = weight, *rho = gate, *bm = batch_mean(), *bi = batch_inverse();
    for (int64_t n = 0; n < N; n++) {
      const double *h = first(n), *hd = second(n);
      VISUS_CHANNELS(0, C) db[c] += h[c];
      if (G) {
        group_weights(n, hd, dw);
      } else if (!own) {
        VISUS_CHANNELS(0, C) dw[c] += hd[c] * bi[c];
      } else {
        const double *mean = a.mean + n * C, *inverse = a.inverse + n * C;
        VISUS_CHANNELS(0, C) {
          const double i = inverse[c] * hd[c], b = bi[c] * (hd[c] + (mean[c] - bm[c]) * h[c]);
          dw[c] += rho[c] * b + (1 - rho[c]) * i;
          dg[c] += w[c] * (b - i);
        }
      }
    }
    void* out[3] = {a.dweight, a.dbias, a.dgate};
    for (int k = 0; k < 3; k++) {
      A* into = (A*)out[k];
      const double* from = dw + k * C;
      if (into) VISUS_CHANNELS(0, C) into[c] = A(from[c]);
    }
  }
  void group_weights(int64_t n, const double* hd, double* dw) const {
    const int64_t D = C / G;
    for (int64_t q = 0; q < G; q++) {
      const double inverse = a.inverse[n * G + q];
      VISUS_CHANNELS(q * D, (q + 1) * D) dw[c] += hd[c] * inverse;
    }
  }
};

}  // namespace visus
