"""Mirror images."""

from __future__ import annotations

from torch import Generator, Tensor

from visus.data.jitter import jitters, within
from visus.data.jitter.draws import uniform


@jitters.member
class Flip:
    """Mirrors an image left to right with a probability; `vertical` top to bottom as well."""

    mixes = False

    def __init__(self, *, probability: float = 0.5, vertical: bool = False):
        self.probability = within("jitter.flip.probability", probability, 0, 1)
        self.vertical = vertical

    def __call__(
        self, images: Tensor, targets: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Images `(N, C, H, W)` mirrored or not; targets as they are."""
        return self.move(images, generator), targets

    def move(self, images: Tensor, generator: Generator, labels: bool = False) -> Tensor:
        """The pixels, or the class numbers of a mask, mirrored."""
        for axis in (3, 2) if self.vertical else (3,):
            chosen = uniform(images, generator) < self.probability
            images = mirrored(images, chosen.to(images.device), axis)
        return images


def mirrored(images: Tensor, chosen: Tensor, axis: int) -> Tensor:
    """A copy with the chosen images, bool `(N,)`, reversed along `axis`."""
    # Half of the images are moved and half copied as they lie: faster than torch.where.
    out, which = images.clone(), chosen.nonzero()[:, 0]
    out[which] = images[which].flip(axis)
    return out
