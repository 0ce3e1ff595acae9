"""What a small net says of images it was not trained on: predictions for the audit of labels.

The images are dealt into folds by class; a net is trained on all folds but one and asked about
that one. Few epochs, so that the nets learn what images of a class share, not single labels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visus.data import Jitter, jitter_default
from visus.data.audit.linear import sharpened
from visus.data.batches import batch_indices, seed_of
from visus.models import build, choose
from visus.training import machine
from visus.training.schedules import schedules

SECONDS = 240.0  # that training all nets may take, unless told otherwise
FOLDS, SPARE = (5, 3), 2  # the most folds that leave ENOUGH epochs, else two
ENOUGH, LEAST, MOST = 10, 3, 24  # epochs: good, worth while, all that labels can bear
STEPS = 120  # a net of a small set takes, whatever its epochs
WIDTH, RATE, DECAY = 16, 0.1, 5e-4
SIDE = 64  # pixels: larger images are shrunk, as far as labels go
WARM, TIMED = 2, 7  # steps that show the pace, by their median
Say = Callable[[str], object]


@dataclass(frozen=True)
class Held:
    """Probabilities `(n, K)` of images that the net which gives them never saw, and how they came."""

    probabilities: Tensor
    folds: int
    epochs: float
    seconds: float


def held_out(
    images: Any, targets: Tensor, classes: int, *, seconds: float = SECONDS, seed: int = 0,
    name: str = "", say: Say = lambda text: None,
) -> Held | None:  # fmt: skip
    """Predictions of `images` (uint8 by `.batch(rows)`) by nets that were trained on the others.

    None where there is nothing to learn from, or `seconds` do not even allow 3 epochs of two nets; the pace is measured first.
    Takes about `seconds`, or less where 24 epochs are over before; half precision on processors
    that have it. The global random numbers stay as they are.
    """
    start = time.monotonic()
    machine.keep_pages()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("audit", seed))
        school = _School(images, targets, classes, name)
        pace = school.pace()
        plan = _plan(len(targets), school.batch, pace, seconds - (time.monotonic() - start))
        if plan is None:
            return None
        folds, steps = plan
        fold = dealt(targets, folds, seed)
        out = torch.zeros(len(targets), classes)
        for k in range(folds):
            left = (seconds - (time.monotonic() - start)) / (folds - k)
            say(f"labels, a small net, {k + 1} of {folds}")
            net = school.train((fold != k).nonzero()[:, 0], steps, left, seed + k, say)
            held = (fold == k).nonzero()[:, 0]
            out[held] = school.answers(net, held)
    kept = len(targets) * (folds - 1) / folds
    return Held(
        sharpened(out, targets), folds, steps * school.batch / kept, time.monotonic() - start
    )


def dealt(targets: Tensor, folds: int, seed: int = 0) -> Tensor:
    """The fold of each image, int64 `(n,)`; each class is spread evenly over them."""
    draw = torch.Generator().manual_seed(seed_of("folds", seed))
    order = torch.randperm(len(targets), generator=draw)
    order = order[targets[order].argsort(stable=True)]
    fold = torch.empty_like(targets)
    fold[order] = torch.arange(len(targets)) % folds
    return fold


def _plan(n: int, batch: int, pace: float, seconds: float) -> tuple[int, int] | None:
    """Folds, and steps of each net, that fit into `seconds` at `pace` seconds a step."""
    for folds in (*FOLDS, SPARE):
        per_epoch = max(1.0, n * (folds - 1) / folds / batch)
        # Answering about an image costs a third of a step's share, twice for its mirror image.
        fits = (0.95 * seconds - 0.7 * pace * n / batch) / (pace * folds)
        enough = ENOUGH if folds != SPARE else LEAST
        if fits >= enough * per_epoch:
            return folds, int(min(fits, max(MOST * per_epoch, STEPS)))
    return None


class _School:
    """Trains nets on some of the images and asks them about others."""

    def __init__(self, images: Any, targets: Tensor, classes: int, name: str):
        self.images, self.targets, self.classes = images, targets, classes
        self.channels, *size = self._read(torch.arange(min(1, len(targets)))).shape[1:]
        self.size = (size[0], size[1])
        self.batch = 32 if len(targets) < 2000 else 64 if len(targets) < 20_000 else 128
        self.jitter = jitter_default(self.channels, self.size, name)
        self.half = machine.half_precision(torch.device("cpu")) == "bfloat16"
        some = torch.arange(len(targets))[:: max(1, len(targets) // 1000)]
        sample = self._read(some)
        self.mean = sample.mean((0, 2, 3), keepdim=True)
        self.std = sample.std((0, 2, 3), keepdim=True).clamp_min(1e-3)

    def _read(self, rows: Tensor) -> Tensor:
        x = self.images.batch(rows).float().div_(255)
        if max(x.shape[2:]) > SIDE:
            size = [max(1, round(n * SIDE / max(x.shape[2:]))) for n in x.shape[2:]]
            x = F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
        return x

    def _cast(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.half)

    def _shown(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def net(self) -> nn.Module:
        """A fresh one."""
        made = build(choose(self.size), self.channels, self.classes, self.size, width=WIDTH)
        return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def pace(self) -> float:
        """Seconds a step takes, the median of some."""
        self.train(torch.arange(len(self.targets)), WARM + TIMED, 1e9, 0)
        return sorted(self.taken[WARM:])[TIMED // 2]

    def train(
        self, rows: Tensor, steps: int, seconds: float, seed: int, say: Say = lambda text: None
    ) -> nn.Module:
        """A net trained on `rows` in one cycle of the rate; sooner done where time runs out."""
        net, start = self.net(), time.monotonic()
        jitter = Jitter(self.jitter, classes=self.classes)
        optimizer = torch.optim.SGD(
            net.parameters(), RATE, momentum=0.9, nesterov=True, weight_decay=DECAY
        )
        batch, cycle = min(self.batch, len(rows)), schedules["one-cycle"]
        self.taken: list[float] = []
        for step in range(steps):
            done = max(step / steps, (time.monotonic() - start) / seconds)
            if done >= 1:
                break
            began = time.monotonic()
            optimizer.param_groups[0]["lr"] = RATE * cycle(done)
            drawn = rows[batch_indices(len(rows), batch, seed, step)]
            x, y = jitter(self._read(drawn), self.targets[drawn], seed, step)
            with self._cast():
                outputs = net(self._shown(x))
            loss = F.cross_entropy(outputs.float(), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            self.taken.append(time.monotonic() - began)
            if step % 50 == 49:
                say(f"labels, a small net, {done:.0%}")
        return net

    @torch.inference_mode()
    def answers(self, net: nn.Module, rows: Tensor) -> Tensor:
        """Log probabilities `(len(rows), K)`; of an image and its mirror image, where those train."""
        net.eval()
        found = [torch.zeros(0, self.classes)]
        for part in rows.split(512):
            x = self._shown(self._read(part))
            with self._cast():
                both = [net(x), net(x.flip(3))] if "flip" in self.jitter else [net(x)]
            found.append(torch.stack([b.float() for b in both]).mean(0).log_softmax(1))
        return torch.cat(found)
