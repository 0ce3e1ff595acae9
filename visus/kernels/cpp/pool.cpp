// Max-pool: the largest of each window and, in one byte, where in the window it is. The first of
// equals wins and NaN wins over all, as in torch; NOWHERE marks a window without any pixel.
#include "pool_pixels.h"
#include "pool_planes.h"

using namespace visus;

namespace {

template <class T> void start(const PoolArgs& a, bool forward) {
  auto run = [&](auto pool) { if (forward) pool.forward(); else pool.backward(); };
  if (a.last) run(PixelPool<T>(a)); else run(PlanePool<T>(a));
}

void by_dtype(const PoolArgs& a, bool forward) {
  switch (a.dtype) {
    case 0: return start<float>(a, forward);
    case 1: return start<double>(a, forward);
    case 2: return start<bf16>(a, forward);
    default: return start<f16>(a, forward);
  }
}

}  // namespace

extern "C" void visus_max_pool(const PoolArgs* a) { by_dtype(*a, true); }
extern "C" void visus_max_pool_backward(const PoolArgs* a) { by_dtype(*a, false); }
