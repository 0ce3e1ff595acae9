// Max-pool: the largest of each window and, in one byte, where in the window it is. The first of
// equals wins and NaN wins over all, as in torch; NONE marks a window without any pixel.
#include <algorithm>
#include <limits>
#include <memory>
#include <utility>
#include "vector.h"

using namespace visus;

namespace {

struct Args {
  int64_t dtype, last, n, c, h, w, oh, ow, kh, kw, sh, sw, ph, pw, dh, dw, threads, past;
  const void *x;  // or g
  void *y;        // or dx
  uint8_t* index;
};

constexpr uint8_t NONE = 255;

template <class V, class I, size_t... K> VISUS_INLINE V even(V a, V b, std::index_sequence<K...>) {
  return __builtin_shuffle(a, b, I{(2 * int64_t(K))...});
}
template <class V, class I, size_t... K> VISUS_INLINE V odd(V a, V b, std::index_sequence<K...>) {
  return __builtin_shuffle(a, b, I{(2 * int64_t(K) + 1)...});
}

template <class T> struct Pool {
  typedef typename Of<T>::A A;
  typedef typename Of<T>::V V;
  typedef typename Of<T>::I I;
  static constexpr int L = lanes<A>;
  typedef uint8_t Bytes __attribute__((vector_size(L)));
  typedef std::make_index_sequence<L> Each;

  const Args& a;
  const int64_t H, W, OH, OW, KH, KW;
  const int threads;
  const bool tiled;  // windows touch and do not overlap: every pixel is written at most once
  uint8_t* const index;

  explicit Pool(const Args& args)
      : a(args), H(a.h), W(a.w), OH(a.oh), OW(a.ow), KH(a.kh), KW(a.kw), threads(int(a.threads)),
        tiled(a.sh == KH && a.sw == KW && a.dh == 1 && a.dw == 1 && !a.ph && !a.pw), index(a.index) {}

  static VISUS_INLINE A one(const T* p) {
    if constexpr (sizeof(T) >= 4) return *p; else return load(p, 1)[0];
  }
  static VISUS_INLINE void put(T* p, A v) {
    if constexpr (sizeof(T) >= 4) *p = v; else store(p, all(v), 1);
  }
  static VISUS_INLINE void keep(V v, I k, V& best, I& where) {
    I wins = (v > best) | (v != v);
    best = wins ? v : best;
    where = wins ? k : where;
  }
  static VISUS_INLINE I number(int64_t k) { return I{} + typename std::conditional<sizeof(A) == 8, int64_t, int32_t>::type(k); }
  // Bytes of numbers and back; left to itself the compiler takes them one by one.
  static VISUS_INLINE Bytes narrow(I i) {
    if constexpr (sizeof(A) == 4) {
#if defined(__AVX512F__)
      return (Bytes)_mm512_cvtepi32_epi8((__m512i)i);
#elif defined(__AVX2__)
      const __m128i h = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)i), _mm256_extracti128_si256((__m256i)i, 1));
      const __m128i packed = _mm_packus_epi16(h, h);
      Bytes b;
      memcpy(&b, &packed, sizeof b);
      return b;
#elif defined(__SSE2__)
      const __m128i h = _mm_packs_epi32((__m128i)i, (__m128i)i);
      const __m128i packed = _mm_packus_epi16(h, h);
      Bytes b;
      memcpy(&b, &packed, sizeof b);
      return b;
#endif
    }
    return __builtin_convertvector(i, Bytes);
  }
  static VISUS_INLINE I spread(Bytes b) {
#if defined(__SSE2__)
    if constexpr (sizeof(A) == 4) {
      __m128i low = {};
      memcpy(&low, &b, sizeof b);
#if defined(__AVX512F__)
      return (I)_mm512_cvtepu8_epi32(low);
#elif defined(__AVX2__)
      return (I)_mm256_cvtepu8_epi32(low);
#else
      return (I)_mm_unpacklo_epi16(_mm_unpacklo_epi8(low, __m128i{}), __m128i{});
#endif
    }
#endif
    return __builtin_convertvector(b, I);
  }
  static VISUS_INLINE void bytes(uint8_t* p, I where, int64_t n) {
    Bytes b = narrow(where);
    if (n >= L) memcpy(p, &b, L); else memcpy(p, &b, n);
  }
  static VISUS_INLINE I where(const uint8_t* p, int64_t n) {
    Bytes b = {};
    if (n >= L) memcpy(&b, p, L); else memcpy(&b, p, n);
    return spread(b);
  }
  static VISUS_INLINE V at(const T* p, int64_t n) { return n >= L ? load(p) : load(p, int(n)); }
  static VISUS_INLINE void write(T* p, V v, int64_t n, bool past = false) {
    if (n < L) store(p, v, int(n)); else if (past) stream(p, v); else store(p, v);
  }
  // As T holds it: torch adds in T, and so do we.
  static VISUS_INLINE V rounded(V v) {
    if constexpr (sizeof(T) >= 4) return v; else return widen((const T*)nullptr, visus::narrow((const T*)nullptr, v));
  }
  // Elements of the window from start on, by step, that lie on [0, size).
  static void inside(int64_t start, int64_t step, int64_t count, int64_t size, int64_t& first, int64_t& end) {
    first = start < 0 ? (-start + step - 1) / step : 0;
    end = start < size ? std::min(count, (size - start + step - 1) / step) : 0;
    first = std::min(first, end);
  }

  // ---- contiguous planes ---------------------------------------------------------------

  VISUS_APART void forward_plane(const T* x, T* y, uint8_t* k) {
    const int64_t low = (a.pw + a.sw - 1) / a.sw;  // windows [low, high) lie on the image
    const int64_t reach = W - 1 - (KW - 1) * a.dw + a.pw;
    const int64_t high = reach < 0 ? 0 : std::min(OW, reach / a.sw + 1);
    for (int64_t i = 0; i < OH; i++, y += OW, k += OW) {
      int64_t u0, u1, top = i * a.sh - a.ph, j = 0;
      inside(top, a.dh, KH, H, u0, u1);
      for (; j < std::min(low, OW); j++) edge(x, top, u0, u1, j, y, k);
      if (u0 < u1 && a.sw <= 2)
        for (; j + L <= high; j += L) {
          V best = all(-std::numeric_limits<A>::infinity());
          I win = number(u0 * KW);
          for (int64_t u = u0; u < u1; u++) {
            const T* row = x + (top + u * a.dh) * W + j * a.sw - a.pw;
            const int64_t left = W - (j * a.sw - a.pw);
            if (a.sw == 2 && KW == 2 && a.dw == 1) {
              V p = load(row), q = load(row + L);
              keep(even<V, I>(p, q, Each()), number(u * KW), best, win);
              keep(odd<V, I>(p, q, Each()), number(u * KW + 1), best, win);
            } else for (int64_t v = 0; v < KW; v++) {
              const T* p = row + v * a.dw;
              V now = a.sw == 1 ? load(p) : even<V, I>(load(p), at(p + L, left - v * a.dw - L), Each());
              keep(now, number(u * KW + v), best, win);
            }
          }
          store(y + j, best);
          bytes(k + j, win, L);
        }
      for (; j < OW; j++) edge(x, top, u0, u1, j, y, k);
    }
  }
  VISUS_INLINE void edge(const T* x, int64_t top, int64_t u0, int64_t u1, int64_t j, T* y, uint8_t* k) {
    int64_t v0, v1, left = j * a.sw - a.pw;
    inside(left, a.dw, KW, W, v0, v1);
    A best = -std::numeric_limits<A>::infinity();
    int64_t win = u0 < u1 && v0 < v1 ? u0 * KW + v0 : NONE;
    for (int64_t u = u0; u < u1; u++)
      for (int64_t v = v0; v < v1; v++) {
        A now = one(x + (top + u * a.dh) * W + left + v * a.dw);
        if (now > best || now != now) { best = now; win = u * KW + v; }
      }
    put(y + j, best);
    k[j] = uint8_t(win);
  }

  VISUS_APART void backward_plane(const T* g, T* dx, const uint8_t* k, const int64_t* offset) {
    const bool two = tiled && KH == 2 && KW == 2;
    if (!two || H % 2 || W % 2 || OH * 2 > H || OW * 2 > W) memset((void*)dx, 0, H * W * sizeof(T));
    for (int64_t i = 0; i < OH; i++, g += OW, k += OW) {
      int64_t j = 0;
      if (two && 2 * i + 1 < H)
        for (; j + L <= OW && 2 * (j + L) <= W; j += L) {
          V d = load(g + j);
          I win = where(k + j, L);
          for (int u = 0; u < 2; u++) {
            V p = win == number(2 * u) ? d : V{}, q = win == number(2 * u + 1) ? d : V{};
            T* row = dx + (2 * i + u) * W + 2 * j;
            store(row, zip<V, I, L>(p, q, 0, Each()));
            store(row + L, zip<V, I, L>(p, q, 1, Each()));
          }
        }
      T* corner = dx + (i * a.sh - a.ph) * W - a.pw;
      for (; j < OW; j++) {
        if (two && 2 * i + 1 < H && 2 * j + 1 < W)
          for (int u = 0; u < 4; u++) memset((void*)(corner + 2 * j + (u / 2) * W + u % 2), 0, sizeof(T));
        if (k[j] == NONE) continue;
        T* p = corner + j * a.sw + offset[k[j]];
        put(p, one(p) + one(g + j));
      }
    }
  }

  // ---- channels last ---------------------------------------------------------------------
  // A window's pixels (backward: the windows of a pixel) are listed once; then blocks of channels
  // go through the list with what they gather in registers.

  struct Listed { int64_t at[256], number[256], many = 0; void add(int64_t place, int64_t k) { at[many] = place, number[many++] = k; } };

  // f(first channel, blocks of vectors, channels of one: L or what is left)
  template <class F> static VISUS_INLINE void across(int64_t C, F f) {
    constexpr int WIDE = 4;
    int64_t c = 0;
    for (; c + WIDE * L <= C; c += WIDE * L) f(c, std::integral_constant<int, WIDE>(), std::integral_constant<int64_t, L>());
    for (; c + L <= C; c += L) f(c, std::integral_constant<int, 1>(), std::integral_constant<int64_t, L>());
    if (c < C) f(c, std::integral_constant<int, 1>(), C - c);
  }

  VISUS_APART void forward_row(const T* x, T* y, uint8_t* k, int64_t i) {
    const int64_t C = a.c, top = i * a.sh - a.ph;
    int64_t u0, u1, v0, v1;
    inside(top, a.dh, KH, H, u0, u1);
    for (int64_t j = 0; j < OW; j++, y += C, k += C) {
      const int64_t left = j * a.sw - a.pw;
      inside(left, a.dw, KW, W, v0, v1);
      Listed pixels;
      for (int64_t u = u0; u < u1; u++)
        for (int64_t v = v0; v < v1; v++) pixels.add(((top + u * a.dh) * W + left + v * a.dw) * C, u * KW + v);
      across(C, [&](int64_t c, auto blocks, auto n) {
        constexpr int B = decltype(blocks)::value;
        V best[B];
        I win[B];
        for (int b = 0; b < B; b++) best[b] = all(-std::numeric_limits<A>::infinity()), win[b] = number(pixels.many ? pixels.number[0] : NONE);
        for (int64_t t = 0; t < pixels.many; t++) {
          const I mine = number(pixels.number[t]);
#pragma GCC unroll 4
          for (int b = 0; b < B; b++) keep(at(x + pixels.at[t] + c + b * L, n), mine, best[b], win[b]);
        }
#pragma GCC unroll 4
        for (int b = 0; b < B; b++) write(y + c + b * L, best[b], n), bytes(k + c + b * L, win[b], n);
      });
    }
  }

  // Row r of dx: every pixel gathers from its windows, in their order, and is written once.
  VISUS_APART void backward_row(const T* g, T* dx, const uint8_t* k, int64_t r, const Listed* columns) {
    const int64_t C = a.c;
    const bool past = a.past && uintptr_t(dx) % 64 == 0 && (C * sizeof(T)) % 64 == 0;
    Listed rows;
    windows(r, OH, a.sh, a.ph, a.dh, KH, rows);
    for (int64_t s = 0; s < W; s++, dx += C) {
      Listed mine;
      for (int64_t u = 0; u < rows.many; u++)
        for (int64_t v = 0; v < columns[s].many; v++) mine.add((rows.at[u] * OW + columns[s].at[v]) * C, rows.number[u] * KW + columns[s].number[v]);
      across(C, [&](int64_t c, auto blocks, auto n) {
        constexpr int B = decltype(blocks)::value;
        V sum[B] = {};
        for (int64_t t = 0; t < mine.many; t++) {
          const int64_t o = mine.at[t] + c;
          const I one = number(mine.number[t]);
#pragma GCC unroll 4
          for (int b = 0; b < B; b++) sum[b] = rounded(sum[b] + (where(k + o + b * L, n) == one ? at(g + o + b * L, n) : V{}));
        }
#pragma GCC unroll 4
        for (int b = 0; b < B; b++) write(dx + c + b * L, sum[b], n, past);
      });
    }
  }
  // The windows of an axis that hold pixel p, and which of theirs it is.
  static void windows(int64_t p, int64_t count, int64_t step, int64_t padding, int64_t dilation, int64_t kernel, Listed& into) {
    for (int64_t u = kernel - 1; u >= 0; u--) {
      const int64_t start = p + padding - u * dilation;
      if (start >= 0 && start % step == 0 && start / step < count) into.add(start / step, u);
    }
  }

  // ---- the work shared out -----------------------------------------------------------------

  void run(bool forward) {
    const T* in = (const T*)a.x;
    T* out = (T*)a.y;
    const int64_t N = a.n, C = a.c, S = H * W, O = OH * OW;
    int64_t offset[256] = {};
    for (int64_t k = 0; k < KH * KW; k++) offset[k] = k / KW * a.dh * W + k % KW * a.dw;
    if (!a.last) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
      for (int64_t p = 0; p < N * C; p++)
        if (forward) forward_plane(in + p * S, out + p * O, index + p * O);
        else backward_plane(in + p * O, out + p * S, index + p * O, offset);
    } else if (forward) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
      for (int64_t r = 0; r < N * OH; r++)
        forward_row(in + r / OH * S * C, out + r * OW * C, index + r * OW * C, r % OH);
    } else {
      std::unique_ptr<Listed[]> columns(new Listed[W]);
      for (int64_t s = 0; s < W; s++) windows(s, OW, a.sw, a.pw, a.dw, KW, columns[s]);
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
      for (int64_t r = 0; r < N * H; r++)
        backward_row(in + r / H * O * C, out + r * W * C, index + r / H * O * C, r % H, columns.get());
      if (a.past) fence();
    }
  }
};

void start(const Args& a, bool forward) {
  switch (a.dtype) {
    case 0: return Pool<float>(a).run(forward);
    case 1: return Pool<double>(a).run(forward);
    case 2: return Pool<bf16>(a).run(forward);
    default: return Pool<f16>(a).run(forward);
  }
}

}  // namespace

// x, y and index of a forward pass; g, dx and the index it left of a backward pass.
extern "C" void visus_max_pool(const Args* a) { start(*a, true); }
extern "C" void visus_max_pool_backward(const Args* a) { start(*a, false); }
