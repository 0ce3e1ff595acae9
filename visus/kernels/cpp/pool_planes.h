// Max-pool over contiguous planes.
// Forward goes along the rows first, then down the columns of what it found: the first of equals (the
// last of NaNs) of the first (last) row is the one that torch finds window by window. Backward, each pixel
// gathers from the windows that hold it, in their order, as in pool_pixels.h.
#pragma once
#include "pool.h"

namespace visus {

template <class T> struct PlanePool : Pool<T> {
  typedef Pool<T> B;
  typedef typename B::A A;
  typedef typename B::V V;
  typedef typename B::I I;
  typedef typename B::Z Z;
  typedef typename B::Each Each;
  static constexpr int L = B::L;
  using B::a, B::H, B::W, B::OH, B::OW, B::KH, B::KW, B::S, B::O, B::threads, B::in, B::out, B::index;
  using B::across, B::at, B::bytes, B::keep, B::number, B::one, B::put, B::rounded, B::where, B::write;

  const bool tiled;  // windows of 2 x 2 that touch and do not overlap
  int64_t low, high;  // vectors may take windows [low, high) of a row: all of their pixels are there
  const Reach down, sideways;

  explicit PlanePool(const PoolArgs& args)
      : B(args), tiled(KH == 2 && KW == 2 && a.sh == 2 && a.sw == 2 && a.dh == 1 && a.dw == 1 && !a.ph && !a.pw),
        down(B::reach_down()), sideways(B::reach_across()) {
    const int64_t most = W - 1 - (KW - 1) * a.dw + a.pw;
    low = std::min(OW, (a.pw + a.sw - 1) / a.sw);
    high = a.sw > 2 || most < 0 ? low : std::max(low, std::min(OW, most / a.sw + 1));
  }

  // Rows of numbers at work, each with where its number comes from. Row r lies in slot r % many, until another
  // takes its place.
  struct Lines {
    const int64_t many, wide;
    std::unique_ptr<A[]> value;
    std::unique_ptr<Z[]> index;
    std::unique_ptr<int64_t[]> held, slot;
    Lines(int64_t rows, int64_t many, int64_t wide)
        : many(many), wide(wide), value(new A[many * wide]()), index(new Z[many * wide]), held(new int64_t[many]), slot(new int64_t[rows]) {
      std::fill(index.get(), index.get() + many * wide, Z(NOWHERE));
      for (int64_t r = 0; r < rows; r++) slot[r] = r % many;
    }
    A* values(int64_t row) const { return value.get() + slot[row] * wide; }
    Z* places(int64_t row) const { return index.get() + slot[row] * wide; }
    bool lacks(int64_t row) const {
      const bool other = held[slot[row]] != row;
      held[slot[row]] = row;
      return other;
    }
    void clear() const { std::fill(held.get(), held.get() + many, -1); }
  };

  Lines found() const { return Lines(H, (KH - 1) * a.dh + 1, OW + L); }

  void forward_plane(const T* x, T* y, uint8_t* k, const Lines& lines) {
    lines.clear();
    for (int64_t i = 0; i < OH; i++, y += OW, k += OW) {
      const int64_t top = i * a.sh - a.ph, u0 = down.first[i], u1 = down.end[i];
      for (int64_t r = top + u0 * a.dh; r < top + u1 * a.dh; r += a.dh)
        if (lines.lacks(r)) along(x + r * W, lines.values(r), lines.places(r));
      downwards(lines, top, u0, u1, y, k);
    }
  }
  // The largest of KW pixels, and which it is, for each window of a row
  VISUS_APART void along(const T* x, A* best, Z* win) {
    for (int64_t j = low; j < high; j += L) {  // what is too much lies behind the row
      const int64_t left = j * a.sw - a.pw;
      V most = pixels(x, left);
      I which = number(0);
      for (int64_t v = 1; v < KW; v++) keep(pixels(x, left + v * a.dw), number(v), most, which);
      store(best + j, most), memcpy(win + j, &which, sizeof which);
    }
    for (int64_t j = 0; j < low; j++) edge(x, j, best, win);
    for (int64_t j = high; j < OW; j++) edge(x, j, best, win);
  }
  // Every sw-th pixel of a row, as far as it goes
  VISUS_INLINE V pixels(const T* x, int64_t from) const {
    const V first = at(x + from, W - from);
    return a.sw == 1 ? first : even<V, I>(first, at(x + from + L, std::max<int64_t>(0, W - from - L)), Each());
  }
  VISUS_INLINE void edge(const T* x, int64_t j, A* best, Z* win) {
    const int64_t v0 = sideways.first[j], v1 = sideways.end[j];
    best[j] = -std::numeric_limits<A>::infinity(), win[j] = v0 < v1 ? Z(v0) : Z(NOWHERE);
    for (int64_t v = v0; v < v1; v++) {
      const A now = one(x + j * a.sw - a.pw + v * a.dw);
      if (now > best[j] || now != now) best[j] = now, win[j] = Z(v);
    }
  }
  // The largest of the rows [u0, u1) of a window; without any, NOWHERE is the number of all
  VISUS_APART void downwards(const Lines& lines, int64_t top, int64_t u0, int64_t u1, T* y, uint8_t* k) {
    across(OW, [&](int64_t j, auto blocks, auto n) {
      constexpr int B = decltype(blocks)::value;
      V best[B];
      I win[B];
      VISUS_BLOCKS best[b] = all(-std::numeric_limits<A>::infinity()), win[b] = number(NOWHERE);
      for (int64_t u = u0; u < u1; u++) {
        const A* value = lines.values(top + u * a.dh) + j;
        const Z* index = lines.places(top + u * a.dh) + j;
        VISUS_BLOCKS {
          const I mine = take<I>(index + b * L), place = mine == number(NOWHERE) ? mine : mine + number(u * KW);
          if (u == u0) best[b] = load(value + b * L), win[b] = place; else keep(load(value + b * L), place, best[b], win[b]);
        }
      }
      VISUS_BLOCKS write(y + j + b * L, best[b], n), bytes(k + j + b * L, win[b], n);
    });
  }

  // Window j of a row lies at j sw, as if windows began at each pixel; what does not lie there is NOWHERE.
  int64_t margin() const { return (KW - 1) * a.dw - a.pw; }
  Lines spread_out() const { return Lines(OH, (KH - 1) * a.dh / a.sh + 1, margin() + std::max(W + a.pw, OW * a.sw) + L); }
  void lay_out(const T* g, const uint8_t* k, A* value, Z* index) {
    int64_t j = 0;
    for (; j + L <= OW && a.sw <= 2; j += L) {
      const V d = load(g + j);
      const I win = where(k + j, L);
      for (int half = 0; half < a.sw; half++) {
        const V v = a.sw == 1 ? d : zip<V, I, L>(d, V{}, half, Each());
        const I w = a.sw == 1 ? win : zip<I, I, L>(win, number(NOWHERE), half, Each());
        store(value + j * a.sw + half * L, v), memcpy(index + j * a.sw + half * L, &w, sizeof w);
      }
    }
    for (; j < OW; j++) value[j * a.sw] = one(g + j), index[j * a.sw] = k[j];
  }

  VISUS_APART void backward_plane(const T* g, T* dx, const uint8_t* k, const Lines& lines, const Holders& rows) {
    lines.clear();
    for (int64_t r = 0; r < H; r++, dx += W) {
      const int64_t first = rows.begin[r], end = rows.begin[r + 1];
      for (int64_t t = first; t < end; t++) {
        const int64_t i = rows.window[t];
        if (lines.lacks(i)) lay_out(g + i * OW, k + i * OW, lines.values(i) + margin(), lines.places(i) + margin());
      }
      across(W, [&](int64_t s, auto blocks, auto n) {
        constexpr int B = decltype(blocks)::value;
        V sum[B] = {};
        for (int64_t t = first; t < end; t++)
          for (int64_t v = KW - 1; v >= 0; v--) {
            const int64_t o = s + (KW - 1 - v) * a.dw;
            const A* value = lines.values(rows.window[t]) + o;
            const Z* index = lines.places(rows.window[t]) + o;
            const I mine = number(rows.number[t] * KW + v);
            VISUS_BLOCKS sum[b] = rounded(sum[b] + (take<I>(index + b * L) == mine ? load(value + b * L) : V{}));
          }
        VISUS_BLOCKS write(dx + s + b * L, sum[b], n);
      });
    }
  }
  // Windows of 2 x 2 that tile the plane: each is written where it lies
  VISUS_APART void backward_tiles(const T* g, T* dx, const uint8_t* k) {
    if (H % 2 || W % 2 || OH * 2 > H || OW * 2 > W) memset((void*)dx, 0, H * W * sizeof(T));
    for (int64_t i = 0; i < OH; i++, g += OW, k += OW, dx += 2 * W) {
      int64_t j = 0;
      for (; j + L <= OW && 2 * (j + L) <= W && 2 * i + 1 < H; j += L) {
        V d = load(g + j);
        I win = where(k + j, L);
        for (int u = 0; u < 2; u++) {
          V p = win == number(2 * u) ? d : V{}, q = win == number(2 * u + 1) ? d : V{};
          T* row = dx + u * W + 2 * j;
          store(row, zip<V, I, L>(p, q, 0, Each()));
          store(row + L, zip<V, I, L>(p, q, 1, Each()));
        }
      }
      for (; j < OW; j++)
        for (int u = 0; u < 4; u++)
          if (2 * i + u / 2 < H && 2 * j + u % 2 < W) put(dx + (u / 2) * W + 2 * j + u % 2, k[j] == u ? one(g + j) : A(0));
    }
  }

  // ---- the work shared out -----------------------------------------------------------------

  // f(plane) with what make() gives, once for each thread
  template <class M, class F> void planes(M make, F f) const {
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
      const auto room = make();
#pragma omp for schedule(static)
      for (int64_t p = 0; p < a.n * a.c; p++) f(p, room);
    }
  }
  void forward() {
    planes([&] { return found(); }, [&](int64_t p, const Lines& lines) { forward_plane(in + p * S, out + p * O, index + p * O, lines); });
  }
  void backward() {
    if (tiled) return planes([] { return 0; }, [&](int64_t p, int) { backward_tiles(in + p * O, out + p * S, index + p * O); });
    const Holders rows = B::held_down();
    planes([&] { return spread_out(); }, [&](int64_t p, const Lines& lines) { backward_plane(in + p * O, out + p * S, index + p * O, lines, rows); });
  }
};

}  // namespace visus
