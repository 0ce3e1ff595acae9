// Weights of channels-last rows: (channels, pixels) as they are given, (pixels, channels) as the rows have them.
#pragma once
#include "planes.h"

namespace visus {

#define VISUS_BLOCK(n) _Pragma("GCC unroll 16") for (int k = 0; k < n; k++)

template <class A> struct Turn {
  typedef typename Of<A>::V V;
  static constexpr int L = lanes<A>;
  // A tile stays in L2, and lies in the given array in stretches of 1 kB, which the processor's prefetching follows.
  static constexpr int64_t PIXELS = 256, CHANNELS = 64;

  // (channels, pixels) to (pixels, channels), or BACK, by tiles and, in them, blocks that stay in registers
  template <bool BACK> static void turn(const A* from, A* into, int64_t channels, int64_t pixels, int threads) {
    const int64_t across = (pixels + PIXELS - 1) / PIXELS, tiles = (channels + CHANNELS - 1) / CHANNELS * across;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t t = 0; t < tiles; t++) {
      const int64_t c0 = t / across * CHANNELS, p0 = t % across * PIXELS;
      tile<BACK>(from, into, channels, pixels, c0, std::min(channels, c0 + CHANNELS), p0, std::min(pixels, p0 + PIXELS));
    }
  }

 private:
  template <bool BACK> static VISUS_APART void tile(const A* from, A* into, int64_t channels, int64_t pixels, int64_t c, int64_t c1, int64_t p0, int64_t p1) {
    for (; c + L <= c1; c += L) {
      int64_t p = p0;
      for (; p + L <= p1; p += L)
        if (BACK) block(from + p * channels + c, channels, into + c * pixels + p, pixels, Each());
        else block(from + c * pixels + p, pixels, into + p * channels + c, channels, Each());
      one_by_one<BACK>(from, into, channels, pixels, c, c + L, p, p1);
    }
    one_by_one<BACK>(from, into, channels, pixels, c, c1, p0, p1);
  }
  template <bool BACK> static VISUS_INLINE void one_by_one(const A* from, A* into, int64_t channels, int64_t pixels, int64_t c0, int64_t c1, int64_t p0, int64_t p1) {
    for (int64_t p = p0; p < p1; p++)
      for (int64_t c = c0; c < c1; c++)
        if (BACK) into[c * pixels + p] = from[p * channels + c]; else into[p * channels + c] = from[c * pixels + p];
  }
  // L times L numbers: vectors L / 2 apart by turns, as often as L halves
  typedef std::make_index_sequence<L> Each;
  static VISUS_INLINE void block(const A* from, int64_t step, A* into, int64_t apart, Each each) {
    typedef typename Of<A>::I I;
    V v[L], w[L];
    VISUS_BLOCK(L) v[k] = load(from + k * step);
#pragma GCC unroll 4
    for (int many = L; many > 1; many /= 2) {
      VISUS_BLOCK(L / 2) w[2 * k] = zip<V, I, L>(v[k], v[k + L / 2], 0, each), w[2 * k + 1] = zip<V, I, L>(v[k], v[k + L / 2], 1, each);
      VISUS_BLOCK(L) v[k] = w[k];
    }
    VISUS_BLOCK(L) store(into + k * apart, v[k]);
  }
};

}  // namespace visus
