"""Mirror images: digits and slanted stripes turn into other classes, blobs of color do not."""

import numpy as np
import pytest
import torch

from visus.data import mirrored, prepare
from visus.training import Recipe
from visus.training.automatic import settle


def kept(x, y):
    return prepare((x, y), validation=0.1, test=0.1)


def stripes(n=600, side=12, noise=1.0):
    draw = np.random.default_rng(0)
    y = draw.integers(0, 4, n)
    u, v = np.meshgrid(np.arange(side), np.arange(side))
    angle, phase = np.pi * (y + 0.5) / 4, draw.uniform(0, 2 * np.pi, n)
    along = u * np.cos(angle)[:, None, None] + v * np.sin(angle)[:, None, None]
    wave = np.sin(1.3 * along + phase[:, None, None])[..., None]
    noisy = wave + draw.normal(0, noise, (*wave.shape[:3], 3))
    return (128 + 25 * noisy).clip(0, 255).astype(np.uint8), y


def colors(n=600, side=12):
    draw = np.random.default_rng(1)
    y = draw.integers(0, 4, n)
    means = draw.uniform(60, 200, (4, 3))[y]
    x = means[:, None, None] + draw.normal(0, 30, (n, side, side, 3))
    return x.clip(0, 255).astype(np.uint8), y


def digits():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    grey = (x.reshape(-1, 8, 8) * 15).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=3), y


@pytest.mark.parametrize(("make", "directed"), [(stripes, True), (digits, True), (colors, False)])
def test_directions_are_told_from_the_data(make, directed):
    dataset = kept(*make())
    seen = mirrored(dataset)
    assert seen is not None and seen.directed is directed and seen.plain > seen.chance
    assert ("flip" not in settle(Recipe(), dataset).jitter) is directed
    assert mirrored(dataset) is seen  # asked once


def test_what_cannot_be_known_is_not_claimed():
    draw = np.random.default_rng(2)
    x, y = draw.integers(0, 255, (600, 8, 8, 3)).astype(np.uint8), draw.integers(0, 4, 600)
    seen = mirrored(kept(x, y))
    assert seen is not None and not seen.directed  # nothing is learned of noise
    assert mirrored(kept(*(part[:90] for part in stripes()))) is None  # too few
    hard = mirrored(kept(*stripes(noise=9.0)))
    assert hard is not None and not hard.directed


def test_every_stride_and_side_is_answered():
    for n, side in ((137, 8), (4001, 9), (6100, 20)):
        seen = mirrored(kept(*stripes(n, side, 0.5)))
        assert seen is not None and seen.n > 20 and seen.directed, (n, side)


def test_constant_images_have_no_direction():
    y = np.arange(200) % 2
    x = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None, None, None], (200, 8, 8, 3))
    seen = mirrored(kept(x, y))
    assert seen is not None and not seen.directed and torch.tensor(seen.plain).isfinite()
