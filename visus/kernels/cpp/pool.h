// What max-pool over planes (pool_planes.h) and over channels-last pixels (pool_pixels.h) share.
#pragma once
#include <algorithm>
#include <limits>
#include <memory>
#include "vector.h"

namespace visus {

// x, y and index of a forward pass; g, dx and the index it left of a backward pass.
struct PoolArgs {
  int64_t dtype, last, n, c, h, w, oh, ow, kh, kw, sh, sw, ph, pw, dh, dw, threads, past;
  const void *x;  // or g
  void *y;        // or dx
  uint8_t* index;
};

constexpr uint8_t NOWHERE = 255;  // the number of a window without any pixel
#define VISUS_BLOCKS _Pragma("GCC unroll 4") for (int b = 0; b < B; b++)

template <class V, class I, size_t... K> VISUS_INLINE V even(V a, V b, std::index_sequence<K...>) {
  return __builtin_shuffle(a, b, I{(2 * int64_t(K))...});
}
template <class V, class I, size_t... K> VISUS_INLINE V odd(V a, V b, std::index_sequence<K...>) {
  return __builtin_shuffle(a, b, I{(2 * int64_t(K) + 1)...});
}

// For each window of an axis its first element on [0, size), and the one after its last.
struct Reach {
  std::unique_ptr<int64_t[]> first, end;
  Reach(int64_t size, int64_t count, int64_t step, int64_t padding, int64_t dilation, int64_t kernel) : first(new int64_t[count]), end(new int64_t[count]) {
    for (int64_t i = 0; i < count; i++) {
      const int64_t start = i * step - padding;
      end[i] = start < size ? std::min(kernel, (size - start + dilation - 1) / dilation) : 0;
      first[i] = std::min(end[i], start < 0 ? (-start + dilation - 1) / dilation : 0);
    }
  }
};

// For each pixel of an axis the windows that hold it, from the first, and which of theirs it is.
struct Holders {
  std::unique_ptr<int64_t[]> begin, window, number;
  Holders(int64_t size, int64_t count, int64_t step, int64_t padding, int64_t dilation, int64_t kernel)
      : begin(new int64_t[size + 1]()), window(new int64_t[size * kernel]), number(new int64_t[size * kernel]) {
    for (int64_t p = 0, many = 0; p < size; begin[++p] = many)
      for (int64_t u = kernel - 1; u >= 0; u--) {
        const int64_t start = p + padding - u * dilation;
        if (start >= 0 && start % step == 0 && start / step < count) window[many] = start / step, number[many++] = u;
      }
  }
};

template <class T> struct Pool {
  typedef typename Of<T>::A A;
  typedef typename Of<T>::V V;
  typedef typename Of<T>::I I;
  static constexpr int L = lanes<A>;
  typedef uint8_t Bytes __attribute__((vector_size(L)));
  typedef typename std::conditional<sizeof(A) == 8, int64_t, int32_t>::type Z;  // a number of I
  typedef std::make_index_sequence<L> Each;

  const PoolArgs& a;
  const int64_t H, W, OH, OW, KH, KW, S, O;
  const int threads;
  const T* const in;
  T* const out;
  uint8_t* const index;

  explicit Pool(const PoolArgs& args)
      : a(args), H(a.h), W(a.w), OH(a.oh), OW(a.ow), KH(a.kh), KW(a.kw), S(H * W), O(OH * OW), threads(int(a.threads)),
        in((const T*)a.x), out((T*)a.y), index(a.index) {}

  Reach reach_down() const { return Reach(H, OH, a.sh, a.ph, a.dh, KH); }
  Reach reach_across() const { return Reach(W, OW, a.sw, a.pw, a.dw, KW); }
  Holders held_down() const { return Holders(H, OH, a.sh, a.ph, a.dh, KH); }
  Holders held_across() const { return Holders(W, OW, a.sw, a.pw, a.dw, KW); }

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
  static VISUS_INLINE I number(int64_t k) { return I{} + Z(k); }
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
  // Fewer than L bytes by the powers of 2: a memcpy of unknown length is a call.
  static VISUS_INLINE void some(const uint8_t* from, uint8_t* to, int64_t n) {
#pragma GCC unroll 4
    for (int k = L / 2; k; k /= 2)
      if (n & k) { memcpy(to, from, k); from += k, to += k; }
  }
  static VISUS_INLINE void bytes(uint8_t* p, I where, int64_t n) {
    Bytes b = narrow(where);
    if (n >= L) memcpy(p, &b, L); else some((const uint8_t*)&b, p, n);
  }
  static VISUS_INLINE I where(const uint8_t* p, int64_t n) {
    Bytes b = {};
    if (n >= L) memcpy(&b, p, L); else some(p, (uint8_t*)&b, n);
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

  // f(first number, blocks of vectors, numbers of one: L or what is left)
  template <class F> static VISUS_INLINE void across(int64_t C, F f) {
    constexpr int WIDE = 4;
    int64_t c = 0;
    for (; c + WIDE * L <= C; c += WIDE * L) f(c, std::integral_constant<int, WIDE>(), std::integral_constant<int64_t, L>());
    for (; c + L <= C; c += L) f(c, std::integral_constant<int, 1>(), std::integral_constant<int64_t, L>());
    if (c < C) f(c, std::integral_constant<int, 1>(), C - c);
  }
};

}  // namespace visus
