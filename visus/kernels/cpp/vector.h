// Vectors of the widest registers that this object is compiled for, and how each dtype is read
// and written through them: half precision is computed in float32, all else as it is.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace visus {

#if defined(__AVX512F__)
constexpr int BYTES = 64;
#elif defined(__AVX__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif

typedef float VF __attribute__((vector_size(BYTES)));
typedef double VD __attribute__((vector_size(BYTES)));
typedef int32_t VI32 __attribute__((vector_size(BYTES)));
typedef int64_t VI64 __attribute__((vector_size(BYTES)));
typedef uint32_t VU32 __attribute__((vector_size(BYTES)));
typedef uint16_t VU16 __attribute__((vector_size(BYTES / 2)));

struct bf16 { uint16_t bits; };
struct f16 { uint16_t bits; };

template <class T> struct Of { typedef float A; typedef VF V; typedef VI32 I; };
template <> struct Of<double> { typedef double A; typedef VD V; typedef VI64 I; };
template <class A> constexpr int lanes = BYTES / int(sizeof(A));

#define VISUS_APART __attribute__((noinline))
#define VISUS_INLINE inline __attribute__((always_inline))

template <class V, class P> VISUS_INLINE V take(const P* p) {
  V v;
  memcpy(&v, p, sizeof v);
  return v;
}

VISUS_INLINE VF widen(const bf16*, VU16 h) { return (VF)(__builtin_convertvector(h, VU32) << 16); }
VISUS_INLINE VU16 narrow(const bf16*, VF v) {
  VU32 u = (VU32)v;
  VU32 even = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  VU32 nan = (u >> 16) | 0x40u;
  return __builtin_convertvector((v == v) ? even : nan, VU16);
}
VISUS_INLINE VF widen(const f16*, VU16 h) {
#if defined(__AVX512F__)
  return (VF)_mm512_maskz_cvtph_ps(0xffff, (__m256i)h);
#elif defined(__F16C__)
  return (VF)_mm256_cvtph_ps((__m128i)h);
#else
  VF v;
  for (int i = 0; i < lanes<float>; i++) {
    _Float16 f;
    uint16_t b = h[i];
    memcpy(&f, &b, 2);
    v[i] = (float)f;
  }
  return v;
#endif
}
VISUS_INLINE VU16 narrow(const f16*, VF v) {
#if defined(__AVX512F__)
  return (VU16)_mm512_maskz_cvtps_ph(0xffff, (__m512)v, _MM_FROUND_TO_NEAREST_INT);
#elif defined(__F16C__)
  return (VU16)_mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT);
#else
  VU16 h;
  for (int i = 0; i < lanes<float>; i++) {
    _Float16 f = (_Float16)v[i];
    uint16_t b;
    memcpy(&b, &f, 2);
    h[i] = b;
  }
  return h;
#endif
}

VISUS_INLINE VF load(const float* p) { return take<VF>(p); }
VISUS_INLINE VD load(const double* p) { return take<VD>(p); }
VISUS_INLINE VF load(const bf16* p) { return widen(p, take<VU16>(p)); }
VISUS_INLINE VF load(const f16* p) { return widen(p, take<VU16>(p)); }
VISUS_INLINE void store(float* p, VF v) { memcpy(p, &v, sizeof v); }
VISUS_INLINE void store(double* p, VD v) { memcpy(p, &v, sizeof v); }
VISUS_INLINE void store(bf16* p, VF v) { VU16 h = narrow(p, v); memcpy(p, &h, sizeof h); }
VISUS_INLINE void store(f16* p, VF v) { VU16 h = narrow(p, v); memcpy(p, &h, sizeof h); }

// Fewer numbers than a vector has, by the powers of 2 in n: a memcpy of unknown length is a call.
template <class T> VISUS_INLINE void few(const T* from, T* to, int n) {
  constexpr int HALF = lanes<typename Of<T>::A> / 2;
  int i = 0;
#pragma GCC unroll 4
  for (int k = HALF; k; k /= 2)
    if (n & k) { memcpy((void*)(to + i), from + i, k * sizeof(T)); i += k; }
}
alignas(64) constexpr int32_t FIRST[16] = {-1, -1, -1, -1, -1, -1, -1, -1};  // from 8 - n on: n ones

// The first n lanes, zeros in the others.
template <class T> VISUS_INLINE typename Of<T>::V load(const T* p, int n) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  if constexpr (sizeof(T) == 4) return (typename Of<T>::V)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
  if constexpr (sizeof(T) == 8) return (typename Of<T>::V)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
  if constexpr (sizeof(T) == 2) return widen(p, (VU16)_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p));
#endif
#if defined(__AVX2__) && !defined(__AVX512BW__)
  if constexpr (sizeof(T) == 4) return (typename Of<T>::V)_mm256_maskload_ps(p, take<__m256i>(FIRST + 8 - n));
  if constexpr (sizeof(T) == 8) return (typename Of<T>::V)_mm256_maskload_pd(p, take<__m256i>(FIRST + 8 - 2 * n));
#endif
  T part[lanes<typename Of<T>::A>] = {};
  few(p, part, n);
  return load(part);
}
template <class T> VISUS_INLINE void store(T* p, typename Of<T>::V v, int n) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  if constexpr (sizeof(T) == 4) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v); return; }
  if constexpr (sizeof(T) == 8) { _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v); return; }
  if constexpr (sizeof(T) == 2) { _mm256_mask_storeu_epi16(p, (__mmask16)((1u << n) - 1), (__m256i)narrow(p, v)); return; }
#endif
  T part[lanes<typename Of<T>::A>];
  store(part, v);
  few(part, p, n);
}

// Past the caches; p is aligned to the vector.
template <class T> VISUS_INLINE void stream(T* p, typename Of<T>::V v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) >= 4) { _mm512_stream_si512((__m512i*)p, (__m512i)v); return; }
  else { _mm256_stream_si256((__m256i*)p, (__m256i)narrow(p, v)); return; }
#elif defined(__AVX__)
  if constexpr (sizeof(T) >= 4) { _mm256_stream_si256((__m256i*)p, (__m256i)v); return; }
#elif defined(__SSE2__)
  if constexpr (sizeof(T) >= 4) { _mm_stream_si128((__m128i*)p, (__m128i)v); return; }
#endif
  store(p, v);
}
inline void fence() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

template <class A> VISUS_INLINE typename Of<A>::V all(A a) { return a - typename Of<A>::V{}; }

// Of two vectors by turns: the first half, or from the middle on.
template <class V, class I, int L, size_t... K> VISUS_INLINE V zip(V a, V b, int64_t from, std::index_sequence<K...>) {
  return from ? __builtin_shuffle(a, b, I{(L / 2 + int64_t(K) / 2 + (K % 2 ? L : 0))...}) : __builtin_shuffle(a, b, I{(int64_t(K) / 2 + (K % 2 ? L : 0))...});
}

// Lane numbers, to clear the lanes that a tail does not have.
template <class A> VISUS_INLINE typename Of<A>::V only(typename Of<A>::V v, int n) {
  typename Of<A>::I at;
  for (int i = 0; i < lanes<A>; i++) at[i] = i;
  return at < n ? v : typename Of<A>::V{};
}

// Four sums: lanes 4 apart are added.
#if defined(__AVX512F__)
VISUS_INLINE __m128 half(VF v) {
  const __m256 h = _mm256_add_ps(_mm512_castps512_ps256((__m512)v), (__m256)_mm512_extractf64x4_pd((__m512d)v, 1));
  return _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
}
#elif defined(__AVX__)
VISUS_INLINE __m128 half(VF v) { return _mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1)); }
#elif defined(__SSE2__)
VISUS_INLINE __m128 half(VF v) { return (__m128)v; }
#endif

VISUS_INLINE float total(VF v) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps((__m512)v);
#elif defined(__SSE2__)
  __m128 s = half(v);
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
#else
  float s = 0;
  for (int i = 0; i < lanes<float>; i++) s += v[i];
  return s;
#endif
}
VISUS_INLINE double total(VD v) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_pd((__m512d)v);
#else
  double s[2] = {};
  for (int i = 0; i < lanes<double>; i += 2) s[0] += v[i], s[1] += v[i + 1];
  return s[0] + s[1];
#endif
}

// The sums of four vectors, side by side.
template <class A> using Some __attribute__((vector_size(4 * sizeof(A)))) = A;
VISUS_INLINE Some<double> wider(Some<double> v) { return v; }
VISUS_INLINE Some<double> wider(Some<float> v) {
#if defined(__AVX__)
  return (Some<double>)_mm256_cvtps_pd((__m128)v);  // left to itself GCC keeps two registers for it, all around
#else
  return __builtin_convertvector(v, Some<double>);
#endif
}
VISUS_INLINE Some<double> fold(const VD* t) { return Some<double>{total(t[0]), total(t[1]), total(t[2]), total(t[3])}; }
VISUS_INLINE Some<float> fold(const VF* t) {
#if defined(__AVX512F__)
  const __m512 a = (__m512)t[0], b = (__m512)t[1], c = (__m512)t[2], d = (__m512)t[3];
  const __m512d p = (__m512d)_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const __m512d q = (__m512d)_mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  return (Some<float>)half((VF)_mm512_add_ps((__m512)_mm512_unpacklo_pd(p, q), (__m512)_mm512_unpackhi_pd(p, q)));
#elif defined(__AVX__)
  const __m256 p = _mm256_hadd_ps((__m256)t[0], (__m256)t[1]), q = _mm256_hadd_ps((__m256)t[2], (__m256)t[3]);
  return (Some<float>)half((VF)_mm256_hadd_ps(p, q));
#else
  return Some<float>{total(t[0]), total(t[1]), total(t[2]), total(t[3])};
#endif
}

// The same in float64: the halves are widened before they are added.
VISUS_INLINE double exact(VD v) { return total(v); }
VISUS_INLINE double exact(VF v) {
  typedef float Half __attribute__((vector_size(BYTES / 2)));
  struct Halves { Half a, b; } h;
  memcpy(&h, &v, sizeof h);
  return total(__builtin_convertvector(h.a, VD) + __builtin_convertvector(h.b, VD));
}

// ---- activations -----------------------------------------------------------------------

enum Act { NONE, RELU, LEAKY, ELU, SIGMOID, TANH };

// Which activation, and its slope. Loops are compiled for NONE, for ANY, which asks at the run and
// calls a function for each vector (beside exp that does not matter), and, in float32 and bfloat16, for
// RELU and LEAKY: an object for all six took twice as long to build.
template <class A> struct Bend { A alpha; int kind; };
constexpr int ANY = -1;
template <class T, class F> void by_act(int kind, F f) {
  if (kind == NONE) return f(std::integral_constant<int, NONE>());
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, bf16>) {
    if (kind == RELU) return f(std::integral_constant<int, RELU>());
    if (kind == LEAKY) return f(std::integral_constant<int, LEAKY>());
  }
  f(std::integral_constant<int, ANY>());
}

// e^z = 2^n (1 + q): n nearest to z / ln 2, q = e^r - 1 by its series on |r| <= ln 2 / 2.
template <class V> struct Power { V two, q; };
VISUS_INLINE Power<VF> power(VF z) {
  z = z < -87.0f ? all(-87.0f) : z;
  z = z > 88.0f ? all(88.0f) : z;
  VF n = (z * 1.44269504f + 12582912.0f) - 12582912.0f;
  VF r = (z - n * 0.693359375f) - n * -2.12194440e-4f;
  VF q = r * (1.0f / 5040) + 1.0f / 720;
  q = q * r + 1.0f / 120;
  q = q * r + 1.0f / 24;
  q = q * r + 1.0f / 6;
  q = q * r + 0.5f;
  q = q * r * r + r;
  return {(VF)((__builtin_convertvector(n, VI32) + 127) << 23), q};
}
VISUS_INLINE Power<VD> power(VD z) {
  z = z < -700.0 ? all(-700.0) : z;
  z = z > 700.0 ? all(700.0) : z;
  VD n = (z * 1.4426950408889634 + 6755399441055744.0) - 6755399441055744.0;
  VD r = (z - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
  VD q = r * (1.0 / 6227020800.0) + 1.0 / 479001600;
  constexpr double terms[] = {39916800, 3628800, 362880, 40320, 5040, 720, 120, 24, 6, 2};
  for (double t : terms) q = q * r + 1.0 / t;
  q = q * r * r + r;
  return {(VD)((__builtin_convertvector(n, VI64) + 1023) << 52), q};
}
template <class V> VISUS_INLINE V exp_(V z) { auto p = power(z); return p.two * p.q + p.two; }
template <class V> VISUS_INLINE V expm1_(V z) { auto p = power(z); return p.two * p.q + (p.two - 1); }
template <class V> VISUS_INLINE V tanh_(V z) {
  V size = z < 0 ? -z : z;
  size = size > 20 ? (size - size) + 20 : size;
  V e = expm1_(size + size);
  V t = e / (e + 2);
  return z < 0 ? -t : t;
}

template <class V> VISUS_INLINE V sigmoid_(V z) { return 1 / (1 + exp_(-z)); }
template <class V, class A> VISUS_APART V curve(V z, Bend<A> bend) {
  switch (bend.kind) {
    case RELU: return z <= 0 ? V{} : z;  // NaN stays
    case LEAKY: return z <= 0 ? z * bend.alpha : z;
    case ELU: return z <= 0 ? expm1_(z <= 0 ? z : V{}) * bend.alpha : z;
    case SIGMOID: return sigmoid_(z);
    default: return tanh_(z);
  }
}
// g times the derivative at z
template <class V, class A> VISUS_APART V slope(V g, V z, Bend<A> bend) {
  switch (bend.kind) {
    case RELU: return z <= 0 ? V{} : g;
    case LEAKY: return z <= 0 ? g * bend.alpha : g;
    case ELU: return z <= 0 ? g * exp_(z <= 0 ? z : V{}) * bend.alpha : g;
    case SIGMOID: { V y = sigmoid_(z); return g * (y * (1 - y)); }
    default: { V y = tanh_(z); return g * ((1 - y) * (1 + y)); }
  }
}
template <int ACT, class V, class A> VISUS_INLINE V act(V z, Bend<A> bend) {
  if constexpr (ACT == RELU) return z <= 0 ? V{} : z;
  if constexpr (ACT == LEAKY) return z <= 0 ? z * bend.alpha : z;
  if constexpr (ACT == ANY) return curve(z, bend);
  return z;
}
template <int ACT, class V, class A> VISUS_INLINE V pull(V g, V z, Bend<A> bend) {
  if constexpr (ACT == RELU) return z <= 0 ? V{} : g;
  if constexpr (ACT == LEAKY) return z <= 0 ? g * bend.alpha : g;
  if constexpr (ACT == ANY) return slope(g, z, bend);
  return g;
}

}  // namespace visus
