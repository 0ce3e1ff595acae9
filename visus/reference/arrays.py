"""What all topics share: float64 arrays, values per channel, windows over the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from visus.errors import UsageError

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Gradients: TypeAlias = dict[str, Any]
Sizes: TypeAlias = int | Sequence[int]


def float64(x: Any) -> Array:
    """`x` as an array of float64; a tensor of another library enters through `__array__`."""
    return np.asarray(x, dtype=np.float64)


def each(value: Sizes, axes: int, name: str) -> tuple[int, ...]:
    """One integer for every spatial axis: `3` means `(3, 3)` in two dimensions."""
    values = (value,) * axes if isinstance(value, (int, np.integer)) else tuple(value)
    if len(values) != axes:
        raise UsageError(f"{name}: {values} for {axes} spatial axes; give one number or {axes}")
    return tuple(int(v) for v in values)


def by_channel(value: Any, x: Array) -> Array:
    """`value` of shape `(C,)` (or of one sample, `x.shape[1:]`) ready to meet `x (N, C, ...)`."""
    value = float64(value)
    if value.shape == x.shape[1:]:
        return value[None]
    if value.shape != x.shape[1:2]:
        raise UsageError(f"per channel: shape {value.shape}; x is {x.shape}, give {x.shape[1:2]}")
    return value.reshape(1, -1, *[1] * (x.ndim - 2))


def sum_to(value: Any, full: Array) -> Array:
    """The gradient of `by_channel`: sum `full (N, C, ...)` over all axes that were repeated."""
    shape = np.shape(value)
    if shape == full.shape[1:]:
        return full.sum(axis=0)
    return full.sum(axis=(0, *range(2, full.ndim)))


def pad(x: Array, pairs: Sequence[tuple[int, int]], value: float = 0.0) -> Array:
    """`x (N, C, ...)` with `(before, after)` more pixels on each spatial axis; negative ones crop."""
    crop = tuple(
        slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape[2:], pairs, strict=True)
    )
    grow = [(max(a, 0), max(b, 0)) for a, b in pairs]
    return np.pad(
        x[(slice(None), slice(None), *crop)], [(0, 0), (0, 0), *grow], constant_values=value
    )


def shifted(
    offset: Sequence[int], outputs: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[slice, ...]:
    """The pixels that the window element `offset` meets: `stride * i + dilation * offset`, all i."""
    starts = [d * u for d, u in zip(dilation, offset, strict=True)]
    spatial = [
        slice(a, a + s * (n - 1) + 1 if n else a, s)
        for a, n, s in zip(starts, outputs, stride, strict=True)
    ]
    return (slice(None), slice(None), *spatial)
