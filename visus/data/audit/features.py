"""Features of images that need no training: how much each part resembles typical patches.

Patches of 6 x 6 pixels, normalized and whitened, are clustered; every place of an image is
described by how much nearer than average each cluster is, summed over the quarters of the
image. A linear model on these errs on a third of CIFAR-10. Source: Coates, Lee and Ng 2011, An
analysis of single-layer networks in unsupervised feature learning.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from visus.data.audit.descriptors import Pixels, shrunk

PATCH, WORDS, PATCHES = 6, 320, 40_000
ROUNDS = 12  # of k-means
BLOCK = 16  # images whose responses stay near the processor
STRIDE = 2  # every other place: a quarter of the work, hardly a worse answer
NORM, ZCA = 10 / 255**2, 0.1  # added to variances (of patches, of whitened directions)


class Words:
    """The typical patches of some images; `words(batch)` are features `(B, D)` of bytes.

    The images are taken as they are, and as their mirror images, so that left and right count
    alike.
    """

    def __init__(self, images: Pixels, rows: Tensor, *, words: int = WORDS, seed: int = 0):
        draw = torch.Generator().manual_seed(seed)
        patches = _normalized(_patches(images, rows, draw))
        self.mean, self.whiten = _whitening(patches)
        self.words = _clusters((patches - self.mean) @ self.whiten, words, draw)

    @property
    def width(self) -> int:
        """Features an image: a word in a quarter each, and one of ones."""
        return 4 * len(self.words) + 1

    def __call__(self, batch: Tensor) -> Tensor:
        images = _padded(shrunk(batch))
        near = self._near(images)
        return torch.cat(
            [F.adaptive_avg_pool2d(near, 2).flatten(1), near.new_ones(len(near), 1)], 1
        )

    def _near(self, images: Tensor) -> Tensor:
        """How much nearer than average each word is, `(B, K, H', W')`.

        |p - w|^2 with p the whitened patch, by one convolution: p = ((x - m) / s - mean) V.
        """
        channels = images.shape[1]
        size = channels * PATCH * PATCH
        kernel = (self.whiten @ self.words.T).T.reshape(len(self.words), channels, PATCH, PATCH)
        ones = torch.ones(1, channels, PATCH, PATCH) / size
        mean = F.conv2d(images, ones, stride=STRIDE)
        var = (
            (F.conv2d(images.square(), ones, stride=STRIDE) - mean.square()).clamp_min(0)
            * size
            / (size - 1)
        )
        scale = (var + NORM).rsqrt()
        dot = (
            F.conv2d(images, kernel, stride=STRIDE) - mean * kernel.sum((1, 2, 3))[:, None, None]
        ) * scale
        dot = dot - (self.mean @ self.whiten @ self.words.T)[:, None, None]
        square = self.words.square().sum(1)[:, None, None] - 2 * dot
        # The length of p itself is the same for all words: what counts is the difference.
        length = self._length(images, mean, scale)
        distance = (square + length).clamp_min(0).sqrt()
        return (distance.mean(1, keepdim=True) - distance).clamp_min(0)

    def _length(self, images: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        # Whitened patches have length sqrt(rank) on average; exact lengths cost another product.
        return torch.full_like(mean, float(self.whiten.shape[1]))


def _padded(images: Tensor) -> Tensor:
    """Images smaller than a patch are enlarged by their borders."""
    down, across = (max(0, PATCH + 1 - n) for n in images.shape[2:])
    return F.pad(images, (0, across, 0, down), mode="replicate") if down or across else images


def _patches(images: Pixels, rows: Tensor, draw: torch.Generator) -> Tensor:
    some = rows[torch.randperm(len(rows), generator=draw)[:4000]]
    each = max(1, min(64, PATCHES // max(1, len(some))))
    found = []
    for part in some.split(256):
        batch = _padded(shrunk(images.batch(part)))
        every = F.unfold(batch, PATCH)  # (B, C*36, L)
        at = torch.randint(every.shape[2], (len(batch), each), generator=draw)
        picked = every.gather(2, at[:, None].expand(-1, every.shape[1], -1))
        found.append(picked.transpose(1, 2).flatten(0, 1))
    return torch.cat(found)


def _normalized(patches: Tensor) -> Tensor:
    centered = patches - patches.mean(1, keepdim=True)
    return centered / (patches.var(1, keepdim=True) + NORM).sqrt()


def _whitening(patches: Tensor) -> tuple[Tensor, Tensor]:
    mean = patches.mean(0)
    centered = patches - mean
    values, vectors = torch.linalg.eigh(centered.T @ centered / max(1, len(patches) - 1))
    return mean, vectors * (values.clamp_min(0) + ZCA).rsqrt() @ vectors.T


def _clusters(points: Tensor, count: int, draw: torch.Generator) -> Tensor:
    """k-means centres, some rounds from random points; empty ones stay where they were."""
    centers = points[torch.randperm(len(points), generator=draw)[:count]].clone()
    for _ in range(ROUNDS):
        nearest = (points @ centers.T - centers.square().sum(1) / 2).argmax(1)
        sums = torch.zeros_like(centers).index_add_(0, nearest, points)
        n = torch.bincount(nearest, minlength=len(centers))[:, None]
        centers = torch.where(n > 0, sums / n.clamp_min(1), centers)
    return centers


def features(
    images: Pixels, words: Words, rows: Tensor, *, say: Callable[[str], object] = lambda text: None
) -> Tensor:  # fmt: skip
    """Features `(len(rows), D)` of the images at `rows`; `say` hears how far it is."""
    found, done = [torch.zeros(0, words.width)], 0
    for part in rows.split(BLOCK):
        found.append(words(images.batch(part)))
        done += len(part)
        if done % 1600 == 0:
            say(f"features, {done:,} of {len(rows):,} images")
    return torch.cat(found)
