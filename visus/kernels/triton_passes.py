# Triton kernels are another language than Python: its types are not pyright's.
# pyright: reportReturnType=false, reportGeneralTypeIssues=false
"""The four passes over memory as Triton kernels: moments, apply, backward sums, backward write.

A tensor is seen as planes `x[n, c, s]` with three strides, so one kernel serves the
contiguous and the channels-last layout: a program owns a tile of `BC` channels times `BS`
positions of one sample, and only the shape of the tile differs. Half precision is read and
written as it is and computed in float32; float64 is computed in float64.

The variance never comes from `E[x^2] - E[x]^2`: a program subtracts a first estimate `k` of
each plane's mean from all it reads and keeps the moments of the small differences; tiles and
programs are merged by Chan, Golub and LeVeque (1983), equation 2.1.
"""

from __future__ import annotations

import triton
import triton.language as tl

# Activations by code, as the kernels know them; `ALPHA` is the slope or scale.
NONE = tl.constexpr(0)
RELU = tl.constexpr(1)
LEAKY = tl.constexpr(2)
ELU = tl.constexpr(3)
SIGMOID = tl.constexpr(4)
TANH = tl.constexpr(5)


@triton.jit
def _expm1(z):
    # Kahan: (e^z - 1) z / log(e^z), where rounding of e^z cancels; the ends by themselves.
    u = tl.exp(z)
    inner = tl.where((u == 1.0) | (z < -20.0), 2.0, u)
    exact = (u - 1.0) * z / tl.log(inner)
    return tl.where(u == 1.0, z, tl.where(z < -20.0, u - 1.0, exact))


@triton.jit
def _tanh(z):
    size = tl.minimum(tl.abs(z), 20.0)
    e = _expm1(2.0 * size)
    return tl.where(z != z, z, tl.where(z < 0, -1.0, 1.0) * (e / (e + 2.0)))


@triton.jit
def _act(z, ALPHA: tl.constexpr, ACT: tl.constexpr):
    if ACT == RELU:
        z = tl.where(z <= 0, 0.0, z)  # NaN stays NaN
    elif ACT == LEAKY:
        z = tl.where(z <= 0, z * ALPHA, z)
    elif ACT == ELU:
        z = tl.where(z <= 0, ALPHA * _expm1(tl.minimum(z, 0.0)), z)
    elif ACT == SIGMOID:
        z = 1.0 / (1.0 + tl.exp(-z))
    elif ACT == TANH:
        z = _tanh(z)
    return z


@triton.jit
def _act_slope(z, ALPHA: tl.constexpr, ACT: tl.constexpr):
    """The derivative of the activation at its input z."""
    one = tl.full(z.shape, 1.0, z.dtype)
    slope = one
    if ACT == RELU:
        slope = tl.where(z <= 0, 0.0, one)
    elif ACT == LEAKY:
        slope = tl.where(z <= 0, one * ALPHA, one)
    elif ACT == ELU:
        slope = tl.where(z <= 0, ALPHA * tl.exp(tl.minimum(z, 0.0)), one)
    elif ACT == SIGMOID:
        y = 1.0 / (1.0 + tl.exp(-z))
        slope = y * (1.0 - y)
    elif ACT == TANH:
        y = _tanh(z)
        slope = (1.0 - y) * (1.0 + y)
    return slope


@triton.jit
def _tile(S, C, blocks, first, BC: tl.constexpr, BS: tl.constexpr):
    """Sample, channels, positions and the mask of this program's tile starting at `first`."""
    n = (tl.program_id(0) // blocks).to(tl.int64)
    c = (tl.program_id(0) % blocks) * BC + tl.arange(0, BC)
    s = first + tl.arange(0, BS)
    return n, c, s, (c < C)[:, None] & (s < S)[None, :]


@triton.jit
def _at(n, c, s, sn, sc, ss):
    return n * sn + c[:, None].to(tl.int64) * sc + s[None, :].to(tl.int64) * ss


@triton.jit
def moments(
    x, k_out, lo_out, m2_out, C, S, sn, sc, ss, blocks, splits, tiles,
    BC: tl.constexpr, BS: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """Per plane and split: an estimate k, the mean of x - k, and the sum of squares about it."""
    start = tl.program_id(1) * tiles * BS
    n, c, s, mask = _tile(S, C, blocks, start, BC, BS)
    v = tl.load(x + _at(n, c, s, sn, sc, ss), mask, other=0.0).to(T)
    k = tl.sum(v, 1) / tl.minimum(S - start, BS).to(T)
    lo, m2 = k * 0.0, k * 0.0
    for t in range(tiles):
        first = start + t * BS
        n, c, s, mask = _tile(S, C, blocks, first, BC, BS)
        d = tl.load(x + _at(n, c, s, sn, sc, ss), mask, other=0.0).to(T) - k[:, None]
        here = tl.maximum(tl.minimum(S - first, BS), 0).to(T)
        before = tl.minimum(t * BS, S - start).to(T)
        mean = tl.sum(tl.where(mask, d, 0.0), 1) / tl.maximum(here, 1.0)
        r = tl.where(mask, d - mean[:, None], 0.0)
        share = here / (before + here)
        m2 += tl.sum(r * r, 1) + (mean - lo) * (mean - lo) * before * share
        lo += (mean - lo) * share
    place = (n * C + c) * splits + tl.program_id(1)
    tl.store(k_out + place, k, c < C)
    tl.store(lo_out + place, lo, c < C)
    tl.store(m2_out + place, m2, c < C)


@triton.jit
def merge(
    k_in, lo_in, m2_in, mean_out, rest_out, var_out, planes, S, splits, span,
    BP: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """The splits of each plane into mean (in two floats: mean + rest) and biased variance."""
    p = tl.program_id(0) * BP + tl.arange(0, BP)
    mask, at = p < planes, p.to(tl.int64) * splits
    k = tl.load(k_in + at, mask, other=0.0)
    lo, m2 = k * 0.0, k * 0.0
    for j in range(splits):
        here = tl.minimum(S - j * span, span).to(T)
        before = (j * span).to(T)
        apart = tl.load(k_in + at + j, mask, other=0.0) - k
        mean = apart + tl.load(lo_in + at + j, mask, other=0.0)
        share = here / (before + here)
        m2 += tl.load(m2_in + at + j, mask, other=0.0)
        m2 += (mean - lo) * (mean - lo) * before * share
        lo += (mean - lo) * share
    mean = k + lo
    tl.store(mean_out + p, mean, mask)
    tl.store(rest_out + p, lo - (mean - k), mask)
    tl.store(var_out + p, m2 / S, mask)


@triton.jit
def _plane(pointer, n, c, C, stride_n, T: tl.constexpr):
    """One number per channel of this sample; stride 0 over n shares it between samples."""
    return tl.load(pointer + n * stride_n + c, c < C, other=0.0).to(T)[:, None]


@triton.jit
def apply(
    x, y, mean, rest, scale, shift, C, S, sn, sc, ss, yn, yc, ys, mn, an, blocks, tiles,
    ACT: tl.constexpr, ALPHA: tl.constexpr, BC: tl.constexpr, BS: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """y = act((x - mean) scale + shift)."""
    start = tl.program_id(1) * tiles * BS
    n, c, s, mask = _tile(S, C, blocks, start, BC, BS)
    m, e = _plane(mean, n, c, C, mn, T), _plane(rest, n, c, C, mn, T)
    a, b = _plane(scale, n, c, C, an, T), _plane(shift, n, c, C, an, T)
    for t in range(tiles):
        n, c, s, mask = _tile(S, C, blocks, start + t * BS, BC, BS)
        d = tl.load(x + _at(n, c, s, sn, sc, ss), mask, other=0.0).to(T) - m - e
        tl.store(y + _at(n, c, s, yn, yc, ys), _act(d * a + b, ALPHA, ACT), mask)


@triton.jit
def sums(
    g, x, sg_out, sgx_out, mean, rest, scale, shift,
    C, S, gn, gc, gs, sn, sc, ss, mn, an, blocks, splits, tiles,
    ACT: tl.constexpr, ALPHA: tl.constexpr, BC: tl.constexpr, BS: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """Per plane and split: the sums of h and of h (x - mean), where h = g act'(z)."""
    start = tl.program_id(1) * tiles * BS
    n, c, s, mask = _tile(S, C, blocks, start, BC, BS)
    m, e = _plane(mean, n, c, C, mn, T), _plane(rest, n, c, C, mn, T)
    a, b = _plane(scale, n, c, C, an, T), _plane(shift, n, c, C, an, T)
    total = tl.zeros([BC], T)
    product = tl.zeros([BC], T)
    for t in range(tiles):
        n, c, s, mask = _tile(S, C, blocks, start + t * BS, BC, BS)
        d = tl.load(x + _at(n, c, s, sn, sc, ss), mask, other=0.0).to(T) - m - e
        h = tl.load(g + _at(n, c, s, gn, gc, gs), mask, other=0.0).to(T)
        h = tl.where(mask, h * _act_slope(d * a + b, ALPHA, ACT), 0.0)
        total += tl.sum(h, 1)
        product += tl.sum(tl.where(mask, h * d, 0.0), 1)
    place = (n * C + c) * splits + tl.program_id(1)
    tl.store(sg_out + place, total, c < C)
    tl.store(sgx_out + place, product, c < C)


@triton.jit
def write(
    g, x, dx, mean, rest, scale, shift, p, q, r,
    C, S, gn, gc, gs, sn, sc, ss, dn, dc, ds, mn, an, pn, blocks, tiles,
    ACT: tl.constexpr, ALPHA: tl.constexpr, BC: tl.constexpr, BS: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """dx = p h + q (x - mean) + r, where h = g act'(z)."""
    start = tl.program_id(1) * tiles * BS
    n, c, s, mask = _tile(S, C, blocks, start, BC, BS)
    m, e = _plane(mean, n, c, C, mn, T), _plane(rest, n, c, C, mn, T)
    a, b = _plane(scale, n, c, C, an, T), _plane(shift, n, c, C, an, T)
    pp, qq = _plane(p, n, c, C, pn, T), _plane(q, n, c, C, pn, T)
    rr = _plane(r, n, c, C, pn, T)
    for t in range(tiles):
        n, c, s, mask = _tile(S, C, blocks, start + t * BS, BC, BS)
        d = tl.load(x + _at(n, c, s, sn, sc, ss), mask, other=0.0).to(T) - m - e
        h = tl.load(g + _at(n, c, s, gn, gc, gs), mask, other=0.0).to(T)
        h = h * _act_slope(d * a + b, ALPHA, ACT)
        tl.store(dx + _at(n, c, s, dn, dc, ds), pp * h + qq * d + rr, mask)
