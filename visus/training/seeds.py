"""Randomness without a state: every draw of a step is a function of (seed, step).

At the start of each step torch's default generators are seeded anew from (seed, step, rank);
dropout, and whatever else a layer draws, then depends on nothing that came before. The order
of the images and the jitter are such functions by themselves. So a checkpoint needs no
generator state, and a resumed, forked or interrupted run draws what the whole run drew.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

_MASK = (1 << 64) - 1


def mix(*parts: int) -> int:
    """One well mixed 63-bit seed from several whole numbers (splitmix64; Steele et al. 2014)."""
    state = 0
    for part in parts:
        state = (state ^ (part & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state >> 1


def reseed(*parts: int) -> None:
    """Seed torch's default generators, of the CPU and the present GPU, from `parts`.

    Not by `torch.manual_seed`: where no GPU is in use it queues a call with a stack trace for
    each backend, at every step.
    """
    seed = mix(*parts)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)


def apart() -> AbstractContextManager:
    """What is drawn inside takes nothing from torch's generators, those of accelerators too."""
    cuda = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    return torch.random.fork_rng(cuda)
