// The N x C algebra of a norm: how moments become the numbers that the passes over planes take,
// how sums become those of the gradient, and the gradients of weight, bias and gate.
#pragma once
#include <memory>
#include "args.h"
#include "strips.h"

namespace visus {

typedef NormArgs Args;

template <class T> struct Algebra {
  typedef Strips<T> P;
  typedef typename P::A A;
  const Args& a;
  const int64_t N, C, S, G;
  const bool last, fixed, batch, instance, close;  // which parts of the mixture there are; groups of small planes
  const T *x = (const T*)a.x, *g = (const T*)a.g;
  T* y = (T*)a.y;
  int64_t parts = 1, rows = 0;  // channels-last: a sample is cut in parts of so many rows
  std::unique_ptr<double[]> plane;  // (N, C) twice: mean and var, or the sums of h and h d
  std::unique_ptr<double[]> piece;  // (N, parts, C) twice
  std::unique_ptr<A[]> small;       // (N or 1, C) seven times
  A* numbered[7];
  int64_t own;                      // stride of the small numbers over n
  int64_t reading = 0;              // from a plane to the one that is read next
  int64_t ahead = 0;                // from a cut to the next, where that fits beside it in the cache

  explicit Algebra(const Args& args)
      : a(args), N(args.n), C(args.c), S(args.s), G(args.groups), last(args.last), fixed(args.fixed_mean),
        batch(!args.groups && (args.gate || args.constant != 0)), instance(!args.groups && (args.gate || args.constant != 1)),
        close(args.groups && !args.last && args.s <= P::SMALL) {
    own = G || instance ? C : 0;
    plane.reset(new double[2 * N * C]);
    const int64_t many = (own ? N : 1) * C + 80;  // not a power of 2 from one array to the next
    if (!close) small.reset(new A[7 * many]);
    for (int k = 0; k < 7; k++) numbered[k] = small.get() + k * many;
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

  // ---- forward -------------------------------------------------------------------------

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

  // The numbers of a group's planes, from channel c on.
  typename P::Numbers group(int64_t c, double mean, double inverse) const {
    return {{}, a.weight ? (const A*)a.weight + c : nullptr, a.bias ? (const A*)a.bias + c : nullptr, mean, inverse, 0, 0};
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

}  // namespace visus
