"""Controlled experiments on a copy: what one step does, what another rate would do.

The step is tested while the program runs (one forward pass now and then). The longer ones
run once, after the program has ended, and only when its loss did not fall as it should.
"""

from __future__ import annotations

import math
import time
from typing import Any

import torch

from visus.doctor.probes import Probe, probes
from visus.doctor.probes.losses import DataLoss
from visus.doctor.probes.program import sample_losses
from visus.doctor.progress import chance
from visus.doctor.signals import median
from visus.doctor.tape import Score

FACTORS = (1.0, 0.1, 10.0, 100.0, 1000.0, 0.01)
ROWS = 64  # samples of a batch in an experiment


@probes.member
class Steps(Probe):
    """`step/before`, `step/after`: the loss of one batch before and after its own update."""

    def __init__(self, host: Any):
        super().__init__(host)
        self.faithful: bool | None = None
        self.ready: tuple[Score, float] | None = None
        self.begin: float | None = None

    def backward(self, loss, tape) -> None:
        self.begin = (
            float(loss) if tape is not None and loss is not None and loss.numel() == 1 else None
        )

    def before_step(self, optimizer) -> None:
        self.ready, step = None, self.host.step
        kept = self.host.scores[-1] if self.host.scores else None
        if kept is None or kept[1]["step"] != step or self.begin is None:
            return
        tested = len(self.signals.series("step", "after"))
        if not self.host.looking or (tested > 5 and not self.host.clock.affords()):
            return
        if self.faithful is None:
            shadow = self.host.shadow()
            if shadow is None:
                self.faithful = False
                return
            again = float(shadow.play(kept[0])[0])
            near = abs(again - self.begin) <= 1e-3 * max(abs(self.begin), 1e-6)
            self.faithful = near or again == self.begin
            self.signals.facts["faithful"] = self.faithful
        if self.faithful and math.isfinite(self.begin):
            self.ready = kept[0], self.begin

    def after_step(self, optimizer) -> None:
        if self.ready is None:
            return
        score, before = self.ready
        self.ready = None
        shadow = self.host.shadow()
        if shadow is not None:
            self.signals.add("step", "before", score.step, before)
            self.signals.add("step", "after", score.step, float(shadow.play(score)[0]))


@probes.member
class Trials(Probe):
    """After the end: errors in evaluation mode, mode switch, overfitting one batch, other rates."""

    late = True

    def __init__(self, host: Any):
        super().__init__(host)
        self.start: list[torch.Tensor] | None = None
        self.options: list[dict] | None = None
        self.type: Any = None

    def before_step(self, optimizer) -> None:
        if self.start is None and self.host.step == 0:
            shadow = self.host.shadow()
            self.start = shadow.keep() if shadow is not None else []
            self.type = type(optimizer)

    # ------------------------------------------------------------------ at the end
    def end(self) -> None:
        s, host = self.signals, self.host
        s.facts["plain"] = plain = len(host.counts) == 1 and len(host.scores) > 1
        shadow = host.shadow() if host.scores else None
        if shadow is None or not plain:
            return
        self.limit = time.perf_counter() + max(0.05, 0.01 * host.clock.seconds)
        final = shadow.keep()
        if all(bool(torch.isfinite(t).all()) for t in final if t.is_floating_point()):
            self._switch(shadow)
            self._compare(shadow)
        if needs_trials(s):
            self._rates(shadow)
            shadow.put(final)
            self._one_batch(shadow)
            self._blind(shadow)
            self._held_out(shadow)

    def _switch(self, shadow) -> None:
        """The same training batches in evaluation mode, batch statistics, and with dropout."""
        ways = [("eval", False, True)]
        ways += [("batch", True, False)] if self.signals.facts.get("norms") else []
        ways += [("train", True, True)] if self.signals.facts.get("dropout") else []
        for kept, facts in self.host.scores[-2:] if len(ways) > 1 else []:
            for name, training, dropout in ways:
                state = shadow.keep() if name != "eval" else None
                shadow.mode(training, dropout=dropout)
                value = float(shadow.play(kept)[0])
                if state is not None:
                    shadow.put(state)
                self.signals.add("switch", name, facts["step"], value)
        shadow.mode(False)

    def _compare(self, shadow) -> None:
        """Error and loss on batches trained on, and on validation batches, both in eval mode."""
        shadow.mode(False)
        ranks: list[float] = []
        for which, store in (("train", self.host.scores), ("validation", self.host.views)):
            n = wrong = total = 0.0
            for number, (kept, facts) in enumerate(reversed(store)):
                if number > 3 and time.perf_counter() > self.limit:
                    break
                found = self._found(shadow, kept, facts, which)
                bad = found.wrong() if found is not None else None
                if found is None or bad is None:
                    continue
                losses = sample_losses(found)
                n, wrong = n + bad.numel(), wrong + float(bad.sum())
                total += float(losses.sum()) if losses is not None else math.nan
                if which == "train":
                    ranks += label_ranks(found)
            if n:
                step = self.signals.steps
                self.signals.add("final", f"{which}_n", step, n)
                self.signals.add("final", f"{which}_error", step, wrong / n)
                self.signals.add("final", f"{which}_loss", step, total / n)
        if len(ranks) >= 12:
            self.signals.add("labels", "wrong_rank", self.signals.steps, sum(ranks) / len(ranks))
            self.signals.add("labels", "wrong_n", self.signals.steps, len(ranks))

    @staticmethod
    def _found(shadow, kept, facts, which) -> DataLoss | None:
        played = shadow.play(kept)
        if which == "train":
            if len(played) < 3:
                return None
            return DataLoss(facts["kind"], played[1], played[2], {}, None)
        target = played[1] if len(played) > 1 else facts["target"]
        return DataLoss(facts["kind"], played[0], target, {}, None)

    # ------------------------------------------------------------------ training on the copy
    @staticmethod
    def _rows(score: Score, rows: int = ROWS) -> torch.Tensor | None:
        return torch.arange(rows) if score.size() > rows else None

    def _optimizer(self, shadow, factor: float) -> torch.optim.Optimizer | None:
        real = next(iter(self.host.optimizers.values()))
        rate = median(self.signals.values("optimizer", "rate"))
        # A schedule may have ended at zero: groups keep the proportions of their first rates.
        own_rate = [float(g.get("initial_lr", g["lr"])) for g in real.param_groups]
        base = max(own_rate)
        groups = []
        for group, first in zip(real.param_groups, own_rate, strict=True):
            own = [
                shadow.own[id(p)]
                for p in group["params"]
                if id(p) in shadow.own and p.requires_grad
            ]
            if own:
                options = {k: v for k, v in group.items() if k != "params"}
                options["lr"] = (first / base if base else 1.0) * rate * factor
                groups.append({"params": own, **options})
        if not groups or not rate or type(real).__name__ == "LBFGS":
            return None
        try:
            return type(real)(groups, lr=rate * factor)
        except Exception:
            return torch.optim.SGD([{"params": g["params"], "lr": g["lr"]} for g in groups])

    def _mean(self, shadow, scores) -> float:
        values = [float(shadow.play(s, rows=self._rows(s), same=False)[0]) for s in scores]
        return sum(values) / len(values)

    def _train(self, shadow, optimizer, scores, held, steps: int = 24) -> float:
        """Some steps over `scores`; the mean loss over `held` at the end (inf when it broke)."""
        params = [p for g in optimizer.param_groups for p in g["params"]]
        for k in range(steps):
            if time.perf_counter() > self.limit and k > 3:
                break
            score = scores[k % len(scores)]
            loss = shadow.play(score, rows=self._rows(score), grad=True, same=False)[0]
            if not bool(torch.isfinite(loss)):
                return math.inf
            grads = torch.autograd.grad(loss, params, allow_unused=True)
            for p, grad in zip(params, grads, strict=True):
                p.grad = grad
            optimizer.step()
        value = self._mean(shadow, held)
        return value if math.isfinite(value) else math.inf

    def _rates(self, shadow) -> None:
        """From the first weights: the same batches with a tenth, ten times ... of the rate."""
        if not self.start:
            return
        scores = [kept for kept, _ in self.host.scores]
        held = len(scores) // 3  # learn from some batches, measure on the others
        shadow.mode(dropout=False)
        shadow.put(self.start)
        self.signals.add("trial", "start", 0, self._mean(shadow, scores[:held] or scores))
        self.limit = time.perf_counter() + max(1.0, 0.03 * self.host.clock.seconds)
        for factor in FACTORS:
            shadow.put(self.start)
            optimizer = self._optimizer(shadow, factor)
            if optimizer is None or time.perf_counter() > self.limit:
                return
            reached = self._train(shadow, optimizer, scores[held:], scores[:held] or scores)
            self.signals.add("trial", f"rate x{factor:g}", 0, reached)

    def _one_batch(self, shadow) -> None:
        """Can the network, as it is now, learn one batch by heart?"""
        score = self.host.scores[-1][0]
        self.limit = time.perf_counter() + max(0.5, 0.03 * self.host.clock.seconds)
        if not shadow.parameters():
            return
        shadow.follow()
        shadow.mode(dropout=False)
        rows = self._rows(score, 32)
        optimizer = torch.optim.Adam(shadow.parameters(), lr=3e-3)
        first = last = math.nan
        for k in range(80):
            loss = shadow.play(score, rows=rows, grad=True, same=False)[0]
            last = float(loss.detach())
            first = last if k == 0 else first
            if time.perf_counter() > self.limit or not math.isfinite(last):
                break
            grads = torch.autograd.grad(loss, shadow.parameters(), allow_unused=True)
            for p, grad in zip(shadow.parameters(), grads, strict=True):
                p.grad = grad
            optimizer.step()
        self.signals.add("trial", "batch_first", 0, first)
        self.signals.add("trial", "batch_last", 0, last)

    def _held_out(self, shadow) -> None:
        """From the first weights, 120 steps of Adam on some batches: the error on the others."""
        stored = [pair for pair in self.host.scores if pair[1]["kind"]]
        held = len(stored) // 3
        if not held or not self.start or not shadow.parameters():
            return
        self.limit = time.perf_counter() + max(2.0, 0.05 * self.host.clock.seconds)
        shadow.put(self.start)
        shadow.mode(True, dropout=False)
        optimizer = torch.optim.Adam(shadow.parameters(), lr=2e-3)
        reached = self._train(
            shadow, optimizer, [kept for kept, _ in stored[held:]], [stored[0][0]], 120
        )
        if time.perf_counter() > self.limit or not math.isfinite(reached):
            return
        shadow.mode(False)
        bad = [
            found.wrong()
            for kept, facts in stored[:held]
            if (found := self._found(shadow, kept, facts, "train"))
        ]
        whole = (
            torch.cat([b for b in bad if b is not None])
            if any(b is not None for b in bad)
            else None
        )
        if whole is not None:
            self.signals.add("trial", "held_error", 0, float(whole.mean()))
            self.signals.add("trial", "held_n", 0, whole.numel())

    def _blind(self, shadow) -> None:
        """Does the output depend on the input at all? (inputs set to zero)"""
        shadow.follow()
        shadow.mode(False)
        score = self.host.scores[-1][0]
        played, blind = shadow.play(score), shadow.play(score, tweak=torch.zeros_like)
        self.signals.add("trial", "sighted", 0, float(played[0]))
        self.signals.add("trial", "blind", 0, float(blind[0]))


def needs_trials(s: Any) -> bool:
    """True where the loss ended above 70 % of where it began, or is not a number."""
    values = s.values("loss", "value")
    if len(values) < 8:
        return False
    begin = min(v for v in (median(values[:3]), chance(s) or math.inf, math.inf) if v == v)
    tail = values[-max(len(values) // 10, 5) :]
    return not all(map(math.isfinite, tail)) or median(tail) > 0.7 * begin


def label_ranks(found: DataLoss) -> list[float]:
    """For misclassified samples: where the given label ranks among the other classes, 0..1.

    A true confusion has its label as the runner-up (0); a label drawn at random ranks
    anywhere (mean 0.5). Needs three classes or more.
    """
    guess, target = found.input, found.target
    if found.task != "classification" or guess.ndim != 2 or guess.shape[1] < 4 or target.ndim != 1:
        return []
    bad = (guess.argmax(1) != target) & (target >= 0) & (target < guess.shape[1])
    guess, target = guess[bad], target[bad]
    above = (guess > guess.gather(1, target[:, None])).sum(1) - 1
    return (above.float() / (guess.shape[1] - 2)).tolist()
