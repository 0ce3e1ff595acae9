"""Training on the copy: other rates, one batch by heart, batches held out.

How many steps and samples an experiment takes is decided before it begins, from the
counted work that the program can pay for: a slow or busy machine changes no number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import torch

from visus.doctor.probes.stock import answered
from visus.doctor.progress import chance, learned
from visus.doctor.schedule import MULTIPLY, PLAY
from visus.doctor.shadow import undisturbed
from visus.doctor.signals import median
from visus.doctor.tape import Score

# Samples of a batch and steps of a training, the dearest first.
SIZES = ((64, 24), (32, 24), (32, 16), (16, 16), (16, 10), (8, 8))
RATES = 4  # trainings that one question about the rate takes, as a rule
AIM, MOST = 0.3, 1e5  # what a guessed rate should gain of the loss; the highest factor


class Student:
    """Trains the copies of a shadow on recorded batches."""

    def __init__(self, host: Any, shadow: Any):
        self.host, self.shadow = host, shadow
        self.scores: list[Score] = [kept for kept, _ in host.scores]
        self.batch = max(self.scores[-1].size(), 1)
        self.rows, self.steps = self._size()
        self.found: dict[str, float] = {}  # what other rates reached

    def _size(self) -> tuple[int, int]:
        # Half of the purse for the rates; the other experiments scale with the same choice.
        left = self.host.schedule.left("trials")
        for rows, steps in SIZES:
            if RATES * steps * self._price(rows) <= left / 2:
                break
        return rows, steps

    @property
    def poor(self) -> bool:
        """Can the program pay for the smallest experiments only?"""
        return (self.rows, self.steps) == SIZES[-1]

    def _price(self, rows: int) -> float:
        """What one step over `rows` samples costs."""
        return self.host.schedule.price(min(rows / self.batch, 1.0), grad=True) + PLAY

    def _within(self, least: int, most: int, price: float) -> int:
        """How many steps of this price the purse pays for."""
        return min(max(int(self.host.schedule.left("trials") / price), least), most)

    def _rows(self, score: Score, rows: int) -> slice | None:
        return slice(rows) if score.size() > rows and self.divides else None

    @cached_property
    def divides(self) -> bool:
        """Can a part of a batch be played? Not where a target holds all pairs of samples (N, N)."""
        try:
            self.shadow.play(self.scores[-1], rows=slice(self.rows))
        except (RuntimeError, IndexError):
            return False
        return True

    # ------------------------------------------------------------------ other rates
    def rates(self, start: list[torch.Tensor]) -> dict[str, float]:
        """The loss on batches held out after some steps at 0.01 to 1000 times the rate."""
        held = len(self.scores) // 3  # learn from some batches, measure on the others
        ask, learn = self.scores[:held] or self.scores, self.scores[held:]
        self.shadow.put(start)
        self.found = found = {"start": self._mean(ask)}
        for factor in self._factors():
            self.shadow.put(start)
            optimizer = self._optimizer(factor)
            if optimizer is None:
                break
            found[f"rate x{factor:g}"] = self._train(optimizer, learn, ask)
            if self.settled():
                break
        return found

    def _reached(self, factor: float) -> float:
        return self.found.get("start" if not factor else f"rate x{factor:g}", math.inf)

    def _factors(self) -> Iterator[float]:
        """The factors worth a training, each chosen by what those before it reached."""
        yield 1.0
        start, same = self._reached(0), self._reached(1.0)
        if same <= 1.2 * start:  # else longer steps than those that are too long already
            yield 10.0
        if not self._straight():  # else shorter steps than those that are too short already
            yield 0.1
            if not same <= min(start, self._reached(0.1)):
                yield 0.01
        if self._reached(10.0) < start:
            yield from self._upwards(start)

    def _upwards(self, start: float) -> Iterator[float]:
        factor = guess = self._guess(start)
        yield factor
        if guess > 100:  # it did not settle it: do gains grow with the rate, again and again?
            yield from (f for f in (100.0, 1e3, 1e4) if f < guess)
            return
        while factor < MOST and self._reached(factor) < start:
            if factor >= 1e3 and self._reached(factor) < 0.9 * start:
                return  # far enough
            factor *= 10
            yield factor

    def _guess(self, start: float) -> float:
        """The power of ten that should gain `AIM` of the loss, where gains are in proportion."""
        gain = (start - self._reached(10.0)) / (10 * abs(start) or 1.0)
        if not self._straight() or gain * MOST < AIM:
            return 100.0
        return 10.0 ** min(max(math.floor(math.log10(AIM / gain)), 2), 5)

    def settled(self) -> bool:
        """Do the rates explain the loss? Then no other experiment can change the findings."""
        return self._short() or self._long() or self._in_proportion()

    def _in_proportion(self) -> bool:
        """Is it settled that steps next to nothing are what holds the weights where they are?

        The weights went nowhere, and three times in a row ten times the rate gained ten times as
        much: no label explains that.
        """
        start = self._reached(0)
        gains = [start - self._reached(factor) for factor in (1.0, 10.0, 100.0, 1e3, 1e4)]
        tenfold = sum(low > 0 and 5 < high / low < 20 for low, high in pairwise(gains))
        still = self.host.signals.last("optimizer", "travel", 1.0) < 0.01
        return still and tenfold >= 3 and max(gains) > 0.003 * abs(start)

    def _straight(self) -> bool:
        """Does ten times the rate gain ten times as much (5 to 20), and this rate next to nothing?"""
        start, same, ten = (self.found.get(k, math.nan) for k in ("start", "rate x1", "rate x10"))
        gain = start - same
        return 0 < gain < 0.03 * abs(start) and 5 < (start - ten) / gain < 20

    def _short(self) -> bool:
        """Is it settled that the steps were too short, and that batches held out can be learned?

        A higher rate brought them well below chance level, this one did not, and no schedule and no
        long way explains it: what `learning-rate-too-small` asks.
        """
        s, found = self.host.signals, self.found
        start, same = found.get("start", math.nan), found.get("rate x1", math.nan)
        best = min((v for v in found.values() if math.isfinite(v)), default=math.nan)
        if not start - best > max(0.03 * abs(start), 2.5 * (start - same)):
            return False
        rates, travel = s.values("optimizer", "rate"), s.last("optimizer", "travel", 1.0)
        steady = bool(rates) and min(rates) >= 1e-3 * max(rates) and travel <= 0.05
        return steady and best < 0.95 * chance(s) and learned(s) <= 0.2

    def _long(self) -> bool:
        """Is it settled that the steps were too long, and that batches held out can be learned?

        A lower rate brought them far below chance level, this one gained less than half of that:
        what `learning-rate-too-large` asks.
        """
        start, same = self._reached(0), self._reached(1.0)
        lower = min(self._reached(0.1), self._reached(0.01))
        far = lower < 0.8 * min(start, chance(self.host.signals))
        return far and start - same < 0.5 * (start - lower) and learned(self.host.signals) < 0.2

    def _optimizer(self, factor: float) -> Together | None:
        made = [self._copied(real, factor, f"optimizer {k}" if k > 1 else "optimizer")
                for k, real in enumerate(self.host.optimizers.values(), 1)]  # fmt: skip
        kept = [one for one in made if one is not None]
        return Together(kept) if kept else None

    def _copied(self, real: Any, factor: float, place: str) -> torch.optim.Optimizer | None:
        rate = median(self.host.signals.values(place, "rate"))
        # A schedule may have ended at zero: groups keep the proportions of their first rates.
        first = [float(g.get("initial_lr", g["lr"])) for g in real.param_groups]
        base, groups = max(first), []
        for group, own_rate in zip(real.param_groups, first, strict=True):
            own = [self.shadow.own[id(p)] for p in group["params"]
                   if id(p) in self.shadow.own and p.requires_grad]  # fmt: skip
            if own:
                options = {k: v for k, v in group.items() if k != "params"}
                options["lr"] = (own_rate / base if base else 1.0) * rate * factor
                options |= {} if options.get("foreach") else _fused(own, type(real))
                groups.append({"params": own, **options})
        if not groups or not rate or type(real).__name__ == "LBFGS":
            return None
        try:
            return type(real)(groups, lr=rate * factor)
        except Exception:
            return torch.optim.SGD([{"params": g["params"], "lr": g["lr"]} for g in groups])

    def _adam(self, params: list, rate: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(params, lr=rate, **_fused(params))

    def _mean(self, scores: list[Score]) -> float:
        rows = min(64, 2 * self.rows)  # to measure must not cost more than to learn
        price = self.host.schedule.price(min(rows / self.batch, 1.0)) + PLAY
        self.host.schedule.pay("trials", len(scores) * price)
        values = [
            float(self.shadow.play(s, rows=self._rows(s, rows), same=False)[0]) for s in scores
        ]
        return sum(values) / len(values)

    def _train(self, optimizer, learn: list[Score], ask: list[Score]) -> float:
        """Some steps over `learn`; the mean loss over `ask` at the end (inf when it broke)."""
        params = [p for g in optimizer.param_groups for p in g["params"]]
        try:
            for k in range(self.steps):
                score = learn[k % len(learn)]
                if not math.isfinite(self._step(optimizer, params, score, self.rows)):
                    return math.inf
            value = self._mean(ask)
        except (RuntimeError, ValueError):  # a loss that refuses what the network now gives
            return math.inf
        return value if math.isfinite(value) else math.inf

    def _step(self, optimizer, params: list, score: Score, rows: int) -> float:
        self.host.schedule.pay("trials", self._price(rows))
        chosen = self._rows(score, rows)
        loss = self.shadow.play(score, rows=chosen, grad=True, same=False)[0]
        value = float(loss.detach())
        if not loss.requires_grad:
            return math.nan  # nothing that this tape computes leads to a weight
        if math.isfinite(value):
            grads = torch.autograd.grad(loss, params, allow_unused=True)
            for p, grad in zip(params, grads, strict=True):
                p.grad = grad
            optimizer.step()
        return value

    # ------------------------------------------------------------------ by heart, held out
    def one_batch(self) -> dict[str, float]:
        """Can the network, as it is now, learn one batch by heart?"""
        self.shadow.mode(dropout=False)
        params = self.shadow.parameters()
        optimizer, rows = self._adam(params, 3e-3), min(32, max(self.rows, 8))
        first = last = math.nan
        for k in range(self._within(40, 160, self._price(rows))):
            last = self._step(optimizer, params, self.scores[-1], rows)
            first = last if k == 0 else first
            if not math.isfinite(last) or last < 0.6 * first:
                break  # it can
            if k == 20 and last > 0.99 * first:
                break  # nothing moves
        return {"batch_first": first, "batch_last": last}

    def rival(
        self, learn: list[tuple[Score, dict]], ask: list[tuple[Score, dict]]
    ) -> tuple[float, int]:
        """Error on `ask` of a plain network (one hidden layer of 128 units) that learned `learn`.

        Of the same inputs and targets as the program's own network. nan where they fit no loss.
        """
        pairs, facts = [self._pair(score) for score, _ in learn + ask], learn[0][1]
        if any(pair is None for pair in pairs) or not pairs:
            return math.nan, 0
        inputs = torch.stack([p[0] for p in pairs if p]) if _alike(pairs) else None
        if inputs is None:
            return math.nan, 0
        targets, n = [p[1] for p in pairs if p], len(learn)
        mean, scale = inputs[:n].mean((0, 1)), inputs[:n].std((0, 1)).clamp_min(1e-3)
        inputs = (inputs - mean) / scale
        net, loss = _plain(inputs.shape[2], facts, targets)
        own = list(net.parameters())
        optimizer = torch.optim.Adam(own, lr=3e-3, weight_decay=1e-4, **_fused(own))
        price = PLAY + 3 * MULTIPLY["cpu"] * inputs[0].numel() * 128
        steps = self._within(10 * n, 25 * n, price)
        self.host.schedule.pay("trials", steps * price)
        with torch.enable_grad():
            for k in range(steps):
                optimizer.zero_grad()
                torch.autograd.backward(loss(net(inputs[k % n]), targets[k % n]))
                optimizer.step()
        with torch.no_grad():
            found = [answered(facts, net(x), y).wrong()
                     for x, y in zip(inputs[n:], targets[n:], strict=True)]  # fmt: skip
        bad = [wrong for wrong in found if wrong is not None]
        judged = sum(map(len, bad))
        return (float(torch.cat(bad).mean()), judged) if judged else (math.nan, 0)

    def _pair(self, score: Score) -> tuple[torch.Tensor, torch.Tensor] | None:
        target = score.known(2)  # as a rule it stands on the tape: no pass is needed
        target = self.shadow.play(score)[2] if target is None and len(score.goals) > 2 else target
        if score.batch is None or not isinstance(target, torch.Tensor):
            return None
        x = _coarse(score.batch.tensor)
        x = x.flatten(1) if x.ndim > 1 else x[:, None]
        y = target.flatten(1) if target.ndim > 2 else target  # an image is many numbers
        usable = x.is_floating_point() and x.shape[1] <= 4096
        return (x.float(), y) if usable and (y.ndim == 1 or y.is_floating_point()) else None

    def learn(self, start: list[torch.Tensor] | None, scores: list[Score]) -> bool:
        """From `start`, 120 steps of Adam over `scores`; False when it broke."""
        self.shadow.put(start)
        self.shadow.mode(True, dropout=False)
        params = self.shadow.parameters()
        optimizer = self._adam(params, 2e-3)
        for k in range(5 * self.steps):
            score = scores[k % len(scores)]
            if not math.isfinite(self._step(optimizer, params, score, self.rows)):
                return False
        return True


class Together:
    """Several optimizers that step after one backward, as one."""

    def __init__(self, parts: list[torch.optim.Optimizer]):
        self.parts = parts
        self.param_groups = [group for part in parts for group in part.param_groups]

    def step(self) -> None:
        """Each takes its step."""
        for part in self.parts:
            part.step()


def _fused(params: list, kind: type = torch.optim.Adam) -> dict[str, Any]:
    """The option by which one call updates all `params`, where `kind` has it for them."""
    known = kind in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
    plain = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in params)
    return {"fused": True} if known and plain else {}


def _coarse(x: torch.Tensor) -> torch.Tensor:
    """Images (N, C, H, W) of about 16 x 16 pixels: as good for a plain network, and four times cheaper."""
    shrink = min(x.shape[2:]) // 16 if x.ndim == 4 and x.is_floating_point() else 1
    return torch.nn.functional.avg_pool2d(x, shrink) if shrink > 1 else x


def _alike(pairs: list) -> bool:
    return len({pair[0].shape for pair in pairs}) == 1


def _plain(features: int, facts: dict, targets: list[torch.Tensor]) -> tuple[Any, Any]:
    """A network of one hidden layer for these targets, and its loss."""
    y, f, kind = targets[0], torch.nn.functional, facts["kind"]
    classes = int(max(int(t.max()) for t in targets)) + 1 if not y.is_floating_point() else 0
    out = classes or (y[0].numel() if y.ndim > 1 else 1)
    with undisturbed():
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Linear(features, 128), torch.nn.ReLU(), torch.nn.Linear(128, out),
            torch.nn.Identity() if y.ndim != 1 or classes else torch.nn.Flatten(0),
        )  # fmt: skip
    if classes or kind == "cross_entropy":
        return net, partial(f.cross_entropy, **facts["options"])
    return net, f.binary_cross_entropy_with_logits if kind.startswith("binary") else f.mse_loss
