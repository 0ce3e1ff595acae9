// Max-pool: the largest of each window and, in one byte, where in the window it is. The first of
// equals wins and NaN wins over all, as in torch; NONE marks a window without any pixel.
#include <algorithm>
#include <limits>
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
template <class V, class I, int L, size_t... K> VISUS_INLINE V zip(V a, V b, int64_t from, std::index_sequence<K...>) {
  return from ? __builtin_shuffle(a, b, I{(L / 2 + int64_t(K) / 2 + (K % 2 ? L : 0))...}) : __builtin_shuffle(a, b, I{(int64_t(K) / 2 + (K % 2 ? L : 0))...});
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
  static VISUS_INLINE void bytes(uint8_t* p, I where, int64_t n) {
    Bytes b = __builtin_convertvector(where, Bytes);
    if (n >= L) memcpy(p, &b, L); else memcpy(p, &b, n);
  }
  static VISUS_INLINE I where(const uint8_t* p, int64_t n) {
    Bytes b = {};
    if (n >= L) memcpy(&b, p, L); else memcpy(&b, p, n);
    return __builtin_convertvector(b, I);
  }
  static VISUS_INLINE V at(const T* p, int64_t n) { return n >= L ? load(p) : load(p, int(n)); }
  static VISUS_INLINE void write(T* p, V v, int64_t n, bool past = false) {
    if (n < L) store(p, v, int(n)); else if (past) stream(p, v); else store(p, v);
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

  VISUS_APART void forward_row(const T* x, T* y, uint8_t* k, int64_t i) {
    const int64_t C = a.c, top = i * a.sh - a.ph;
    int64_t u0, u1, v0, v1;
    inside(top, a.dh, KH, H, u0, u1);
    for (int64_t j = 0; j < OW; j++, y += C, k += C) {
      const int64_t left = j * a.sw - a.pw;
      inside(left, a.dw, KW, W, v0, v1);
      const int64_t none = u0 < u1 && v0 < v1 ? u0 * KW + v0 : NONE;
      for (int64_t c = 0; c < C; c += L) {
        V best = all(-std::numeric_limits<A>::infinity());
        I win = number(none);
        for (int64_t u = u0; u < u1; u++)
          for (int64_t v = v0; v < v1; v++)
            keep(at(x + ((top + u * a.dh) * W + left + v * a.dw) * C + c, C - c), number(u * KW + v), best, win);
        write(y + c, best, C - c);
        bytes(k + c, win, C - c);
      }
    }
  }

  // Channels [c0, c1) of a sample.
  VISUS_APART void backward_sample(const T* g, T* dx, const uint8_t* k, int64_t c0, int64_t c1) {
    const int64_t C = a.c;
    const bool whole = tiled && OH * KH == H && OW * KW == W, past = whole && a.past && uintptr_t(dx) % 64 == 0 && (C * sizeof(T)) % 64 == 0;
    if (!whole) {
      if (c1 - c0 == C) memset((void*)dx, 0, H * W * C * sizeof(T));
      else for (int64_t p = 0; p < H * W; p++) memset((void*)(dx + p * C + c0), 0, (c1 - c0) * sizeof(T));
    }
    for (int64_t i = 0; i < OH; i++) {
      int64_t u0, u1, v0, v1, top = i * a.sh - a.ph;
      inside(top, a.dh, KH, H, u0, u1);
      for (int64_t j = 0; j < OW; j++, g += C, k += C) {
        const int64_t left = j * a.sw - a.pw;
        inside(left, a.dw, KW, W, v0, v1);
        for (int64_t c = c0; c < c1; c += L) {
          const int64_t n = c1 - c;
          V d = at(g + c, n);
          I win = where(k + c, n);
          for (int64_t u = u0; u < u1; u++)
            for (int64_t v = v0; v < v1; v++) {
              T* p = dx + ((top + u * a.dh) * W + left + v * a.dw) * C + c;
              V mine = win == number(u * KW + v) ? d : V{};
              if (tiled) write(p, mine, n, past); else write(p, at(p, n) + mine, n);
            }
        }
      }
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
      const int64_t cut = N % threads && C >= 64 * threads ? (C / threads + 63) / 64 * 64 : C, cuts = (C + cut - 1) / cut;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
      for (int64_t p = 0; p < N * cuts; p++) {
        const int64_t n = p / cuts, c0 = p % cuts * cut;
        backward_sample(in + n * O * C, out + n * S * C, index + n * O * C, c0, std::min(C, c0 + cut));
        if (a.past) fence();
      }
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
