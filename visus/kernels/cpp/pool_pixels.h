// Max-pool over channels-last pixels. A window's pixels (backward: the windows of a pixel) are listed once;
// then blocks of channels go through the list with what they gather in registers.
#pragma once
#include "pool.h"

namespace visus {

template <class T> struct PixelPool : Pool<T> {
  typedef Pool<T> P;
  typedef typename P::A A;
  typedef typename P::V V;
  typedef typename P::I I;
  static constexpr int L = P::L;
  using P::a, P::H, P::W, P::OH, P::OW, P::KH, P::KW, P::S, P::O, P::threads, P::in, P::out, P::index;
  using Pool<T>::Pool;
  using P::across, P::at, P::bytes, P::keep, P::number, P::rounded, P::where, P::write;

  struct Listed { int64_t at[256], number[256], many = 0; void add(int64_t place, int64_t k) { at[many] = place, number[many++] = k; } };

  VISUS_APART void forward_row(const T* x, T* y, uint8_t* k, int64_t i, const Reach& down, const Reach& sideways) {
    const int64_t C = a.c, top = i * a.sh - a.ph, u0 = down.first[i], u1 = down.end[i];
    for (int64_t j = 0; j < OW; j++, y += C, k += C) {
      const int64_t left = j * a.sw - a.pw, v0 = sideways.first[j], v1 = sideways.end[j];
      Listed pixels;
      for (int64_t u = u0; u < u1; u++)
        for (int64_t v = v0; v < v1; v++) pixels.add(((top + u * a.dh) * W + left + v * a.dw) * C, u * KW + v);
      across(C, [&](int64_t c, auto blocks, auto n) {
        constexpr int B = decltype(blocks)::value;
        V best[B];
        I win[B];
        for (int b = 0; b < B; b++) best[b] = all(-std::numeric_limits<A>::infinity()), win[b] = number(pixels.many ? pixels.number[0] : NOWHERE);
        for (int64_t t = 0; t < pixels.many; t++) {
          const I mine = number(pixels.number[t]);
          VISUS_BLOCKS keep(at(x + pixels.at[t] + c + b * L, n), mine, best[b], win[b]);
        }
        VISUS_BLOCKS write(y + c + b * L, best[b], n), bytes(k + c + b * L, win[b], n);
      });
    }
  }

  // Row r of dx: every pixel gathers from its windows, in their order, and is written once.
  VISUS_APART void backward_row(const T* g, T* dx, const uint8_t* k, int64_t r, const Holders& rows, const Holders& columns) {
    const int64_t C = a.c;
    const bool past = a.past && uintptr_t(dx) % 64 == 0 && (C * sizeof(T)) % 64 == 0;
    for (int64_t s = 0; s < W; s++, dx += C) {
      Listed mine;
      for (int64_t t = rows.begin[r]; t < rows.begin[r + 1]; t++)
        for (int64_t q = columns.begin[s]; q < columns.begin[s + 1]; q++) mine.add((rows.window[t] * OW + columns.window[q]) * C, rows.number[t] * KW + columns.number[q]);
      across(C, [&](int64_t c, auto blocks, auto n) {
        constexpr int B = decltype(blocks)::value;
        V sum[B] = {};
        for (int64_t t = 0; t < mine.many; t++) {
          const int64_t o = mine.at[t] + c;
          const I one = number(mine.number[t]);
          VISUS_BLOCKS sum[b] = rounded(sum[b] + (where(k + o + b * L, n) == one ? at(g + o + b * L, n) : V{}));
        }
        VISUS_BLOCKS write(dx + c + b * L, sum[b], n, past);
      });
    }
  }

  // ---- the work shared out -----------------------------------------------------------------

  template <class F> void rows(int64_t many, F f) const {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t r = 0; r < a.n * many; r++) f(r / many, r % many);
    if (a.past) fence();
  }
  void forward() {
    const Reach down = P::reach_down(), sideways = P::reach_across();
    rows(OH, [&](int64_t n, int64_t i) {
      const int64_t o = (n * O + i * OW) * a.c;
      forward_row(in + n * S * a.c, out + o, index + o, i, down, sideways);
    });
  }
  void backward() {
    const Holders down = P::held_down(), sideways = P::held_across();
    rows(H, [&](int64_t n, int64_t r) { backward_row(in + n * O * a.c, out + (n * S + r * W) * a.c, index + n * O * a.c, r, down, sideways); });
  }
};

}  // namespace visus
