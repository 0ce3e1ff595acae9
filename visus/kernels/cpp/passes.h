// The four passes over planes one by one, for algebras that are written in Python: the numbers come
// as (N, C) arrays and the moments and sums go out so.
#pragma once
#include <memory>
#include "strips.h"

namespace visus {

// What a pass is called with, as packed bytes.
struct PassArgs {
  int64_t dtype, last, n, c, s, act, pass, threads, past;
  const void *x, *g;
  void* y;  // or dx
  const void *mean, *rest, *scale, *shift, *p, *q, *r;
  void* out[3];  // mean, rest and var, or the sums of h and of h (x - mean - rest)
  double alpha;
};

enum Pass { MOMENTS, APPLY, SUMS, WRITE };

template <class T, int ACT> struct Passes {
  typedef Strips<T> P;
  typedef typename P::A A;
  const PassArgs& a;
  const int64_t C = a.c, S = a.s, threads = a.threads, blocks = a.last ? 1 : std::min<int64_t>(C, threads);
  const T *x = (const T*)a.x, *g = (const T*)a.g;
  T* y = (T*)a.y;
  const A *mean = (const A*)a.mean, *rest = (const A*)a.rest, *scale = (const A*)a.scale, *shift = (const A*)a.shift;
  const A *p = (const A*)a.p, *q = (const A*)a.q, *r = (const A*)a.r;
  const Bend<A> bend{A(a.alpha), int(a.act)};

  void run() const {
#pragma omp parallel for num_threads(int(threads)) schedule(static) if (threads > 1)
    for (int64_t i = 0; i < a.n * blocks; i++) {
      const int64_t k = i % blocks, c0 = C * k / blocks, c1 = C * (k + 1) / blocks;
      if (a.pass == MOMENTS) moments(i / blocks, c0, c1 - c0);
      else if (a.pass == SUMS) sums(i / blocks, c0, c1 - c0);
      else written(i / blocks, c0, c1 - c0);
    }
    if (a.past) fence();
  }

  int64_t place(int64_t n, int64_t c) const { return a.last ? n * S * C : (n * C + c) * S; }

  void moments(int64_t n, int64_t c, int64_t many) const {
    const T* from = x + place(n, c);
    std::unique_ptr<double[]> room(new double[2 * many]);
    double *m = room.get(), *v = m + many;
    if (a.last) P::moments_rows(from, S, C, m, v); else P::moments_planes(from, many, S, m, v, std::min<int64_t>(many * S, TILE));
    for (int64_t k = 0, to = n * C + c; k < many; k++, to++) {
      const A hi = A(m[k]);
      ((A*)a.out[0])[to] = hi, ((A*)a.out[1])[to] = A(m[k] - double(hi));
      ((A*)a.out[2])[to] = A(a.last ? v[k] / double(S) : v[k]);
    }
  }

  // The passes see of the mean what fits its dtype; the rest goes into the shift, as in algebra.h.
  typename P::Wide wide(int64_t at, int64_t many, A* b) const {
    for (int64_t k = 0; k < many; k++) {
      b[k] = A(double(shift[at + k]) - double(rest[at + k]) * double(scale[at + k]));
      if (r) b[many + k] = A(double(r[at + k]) - double(q[at + k]) * double(rest[at + k]));
    }
    return {mean + at, scale + at, b, (p ? p : scale) + at, (q ? q : scale) + at, b + many};  // all can be read
  }

  void written(int64_t n, int64_t c, int64_t many) const {
    const int64_t o = place(n, c);
    std::unique_ptr<A[]> room(new A[2 * many]());
    const typename P::Wide k = wide(n * C + c, many, room.get());
    if (a.pass == APPLY) {
      if (a.last) P::template apply_rows<ACT>(x + o, y + o, S, C, k, bend, a.past); else P::template apply_planes<ACT>(x + o, y + o, many, S, k, bend, a.past, 0);
    } else {
      if (a.last) P::template write_rows<ACT>(g + o, x + o, y + o, S, C, k, bend, a.past); else P::template write_planes<ACT>(g + o, x + o, y + o, many, S, k, bend, a.past, 0);
    }
  }

  void sums(int64_t n, int64_t c, int64_t many) const {
    const int64_t o = place(n, c), at = n * C + c;
    std::unique_ptr<double[]> room(new double[2 * many]());
    std::unique_ptr<A[]> small(new A[2 * many]());
    double *sg = room.get(), *sx = sg + many;
    const typename P::Wide k = wide(at, many, small.get());
    if (a.last) P::template sums_rows<ACT>(g + o, x + o, S, C, k, bend, sg, sx); else P::template sums_planes<ACT>(g + o, x + o, many, S, k, bend, sg, sx, 0);
    for (int64_t i = 0; i < many; i++) {
      ((A*)a.out[0])[at + i] = A(sg[i]);
      ((A*)a.out[1])[at + i] = A(sx[i] - double(rest[at + i]) * sg[i]);
    }
  }
};

}  // namespace visus
