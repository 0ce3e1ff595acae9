"""Controlled experiments on a copy: what one step does, what another rate would do.

The step is tested while the program runs (one forward pass now and then). The longer ones
run once, after the program has ended, and only when its loss did not fall as it should.
How much is done is bought from the schedule, in counted work: see `visus.doctor.schedule`.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from visus.doctor.probes import Probe, probes
from visus.doctor.probes.answers import label_ranks, note_answers, recall
from visus.doctor.probes.called import asks_held_out, asks_thaw, explained, needs_trials
from visus.doctor.probes.layers import drops
from visus.doctor.probes.program import SAMPLES, fingerprints, sample_losses, spread
from visus.doctor.probes.stock import DataLoss, answered
from visus.doctor.progress import adam_learns, learned, moves, rested
from visus.doctor.schedule import PLAY
from visus.doctor.student import Student
from visus.doctor.tape import Recorder, Score

ENOUGH = 512  # samples that settle an error
ALONG = (0.0, 0.1, 0.3, 1.0, 2.0, 4.0, 10.0)  # lengths of the landscape, in updates


@probes.member
class Steps(Probe):
    """`step/before`, `step/after`: the loss of one batch before and after its own update."""

    def __init__(self, host: Any):
        super().__init__(host)
        self.faithful: bool | None = None
        self.ready: tuple[Score, float] | None = None
        self.begin: float | None = None
        self.old: list[torch.Tensor] | None = None

    def backward(self, loss, tape) -> None:
        self.begin = (
            float(loss) if tape is not None and loss is not None and loss.numel() == 1 else None
        )

    def before_step(self, optimizer) -> None:
        self.ready = None
        kept = self.host.scores[-1] if self.host.scores else None
        if kept is None or kept[1]["step"] != self.host.step or self.begin is None:
            return
        if not self.host.looking or self.faithful is False:
            return
        if self.host.step > 0 and not self._paid("steps", 1):
            return
        self._draw()
        if self.faithful is None:
            self._check(kept[0], self.begin)
        if self.faithful and math.isfinite(self.begin):
            self.ready = kept[0], self.begin

    def _paid(self, purse: str, passes: float) -> bool:
        schedule = self.host.schedule
        return schedule.affords(purse, passes * (schedule.price(1.0) + PLAY))

    def _check(self, score: Score, begin: float) -> None:
        # Does the copy give the program's very loss? Else nothing that it does can be trusted.
        shadow, again = self.host.shadow(), math.nan
        try:
            again = float(shadow.play(score)[0]) if shadow is not None else math.nan
        except Exception:
            self.host.forgo()
        near = abs(again - begin) <= 1e-3 * max(abs(begin), 1e-6)
        self.faithful = shadow is not None and (near or again == begin)
        self.signals.facts["faithful"] = self.faithful

    def _draw(self) -> None:
        # The weights before the update, for the landscape along it.
        self.old = None
        if self.host.record is not None and self.faithful and self._paid("landscape", len(ALONG)):
            shadow = self.host.shadow()
            self.old = shadow.keep() if shadow is not None else None

    def after_step(self, optimizer) -> None:
        if self.ready is None:
            return
        score, before = self.ready
        self.ready = None
        shadow = self.host.shadow()
        if shadow is not None:
            self.signals.add("step", "before", score.step, before)
            self.signals.add("step", "after", score.step, float(shadow.play(score)[0]))
            if self.old is not None:
                self._landscape(shadow, score, before, self.signals.last("optimizer", "rate", 0.0))

    def _landscape(self, shadow, score: Score, before: float, rate: float) -> None:
        old, new, losses = self.old, shadow.keep(), []
        assert old is not None
        for far in ALONG:
            shadow.put([
                a + far * (b - a) if a.is_floating_point() else a
                for a, b in zip(old, new, strict=True)
            ])  # fmt: skip
            losses.append(float(shadow.play(score)[0]))
        self.host.record("landscape", step=score.step, rate=rate, before=before,
                         rates=[rate * far for far in ALONG], losses=losses)  # fmt: skip


@probes.member
class Trials(Probe):
    """After the end: errors in evaluation mode, mode switch, overfitting one batch, other rates."""

    late = True

    def __init__(self, host: Any):
        super().__init__(host)
        self.start: list[torch.Tensor] | None = None
        self.calm: dict[int, float] = {}  # losses in evaluation mode, by step

    def backward(self, loss, tape) -> None:
        if self.start is None and self.host.step == self.host.since:
            self._begin()

    def before_step(self, optimizer) -> None:
        # A step by hand is known of only afterwards; here networks may have been met since.
        if self.host.step == self.host.since:
            self._begin()

    def _begin(self) -> None:
        shadow = self.host.shadow()
        if shadow is None:
            self.start = self.start or []
        elif self.start is None or len(self.start) != len(shadow.pairs):
            self.start = shadow.keep()

    # ------------------------------------------------------------------ at the end
    def end(self) -> None:
        s, host = self.signals, self.host
        one = len(host.counts) == 1 or s.facts.get("one_loss", False)
        s.facts["plain"] = plain = one and len(host.scores) > 1
        shadow = host.shadow() if host.scores else None
        if shadow is None or not plain:
            return
        final = shadow.keep()
        with shadow.still():
            if all(bool(torch.isfinite(t).all()) for t in final if t.is_floating_point()):
                self._compare(shadow)
                self._ignores(shadow)
                self._switch(shadow)
            if needs_trials(s) and not explained(host.judge()):
                self._study(shadow, final)
            if self.start and shadow.parameters() and asks_thaw(s):
                self._thaw(shadow, Student(host, shadow))

    def _affords(self, part: float = 1.0) -> bool:
        schedule = self.host.schedule
        return schedule.affords("end", schedule.price(part) + PLAY)

    def _switch(self, shadow) -> None:
        """The same training batches with the statistics of the batch, and with dropout."""
        facts = self.signals.facts
        ways = [("batch", False)] if facts.get("norms") else []
        ways += [("train", True)] if facts.get("dropout", 0.0) >= 0.7 else []
        for number, (kept, facts) in enumerate(reversed(self.host.scores[-6:])):
            if (
                not ways
                or (not self._affords(len(ways)) and number)
                or facts["step"] not in self.calm
            ):
                break
            self.signals.add("switch", "eval", facts["step"], self.calm[facts["step"]])
            for name, dropout in ways:
                state = shadow.keep()
                shadow.mode(True, dropout=dropout)
                self.signals.add("switch", name, facts["step"], float(shadow.play(kept)[0]))
                shadow.put(state)
        shadow.mode(False)
        if self.signals.facts.get("bare_dropout"):
            self._dropout(shadow)

    def _dropout(self, shadow) -> None:
        """Does a dropout that is called as a function go on in evaluation mode?"""
        calls: list[float] = []
        listener = Recorder(lambda name, func, args, kwargs, result: calls.append(
            float(drops(args, kwargs))) if "dropout" in name else None)  # fmt: skip
        listener.on()
        try:
            shadow.play(self.host.scores[-1][0])
        finally:
            listener.off()
        if calls:
            self.signals.add("switch", "dropout_on", self.signals.steps, max(calls))

    def _compare(self, shadow) -> None:
        """Error and loss on batches trained on, and on validation batches, both in eval mode."""
        shadow.mode(False)
        ranks: list[float] = []
        stores = {"train": self.host.scores, "validation": self.host.views}
        if self._evaluated():
            del stores["validation"]
        for which, store in stores.items():
            n, wrong, parts, tallies = 0.0, 0.0, [], []
            for number, (kept, facts) in enumerate(reversed(store)):
                part = min(SAMPLES, kept.size()) / max(self.host.scores[-1][0].size(), 1)
                if n >= ENOUGH or (not self._affords(part) and number):
                    break
                found = self._found(shadow, kept, facts, which)
                bad = found.wrong() if found is not None else None
                if found is None or bad is None:
                    continue
                parts.append(sample_losses(found))
                tallies.append(found.tally())
                recall(self.signals, which, found, bad)
                n, wrong = n + bad.numel(), wrong + float(bad.sum())
                if which == "train":
                    ranks += label_ranks(found)
            if n:
                step = self.signals.steps
                self.signals.add("final", f"{which}_n", step, n)
                self.signals.add("final", f"{which}_error", step, wrong / n)
                note_answers(self.signals, "final", f"{which}_", step, tallies, parts)
        if len(ranks) >= 12:
            self.signals.add("labels", "wrong_rank", self.signals.steps, sum(ranks) / len(ranks))
            self.signals.add("labels", "wrong_n", self.signals.steps, len(ranks))

    def _ignores(self, shadow) -> None:
        """Where something is added to the loss of the data: is that loss the same with the inputs
        of other samples? `final/own_input` and `final/other_input`, in evaluation mode."""
        kept, facts = self.host.scores[-1]
        if not moves(self.signals) or not facts["kind"] or not self._affords(2):
            return
        for name, tweak in (("own_input", None), ("other_input", _others)):
            played = shadow.play(kept, tweak=tweak)
            found = answered(facts, played[1], played[2])
            losses = sample_losses(found) if len(played) > 2 else None
            if losses is not None:
                self.signals.add("final", name, self.signals.steps, float(losses.mean()))

    def _evaluated(self) -> bool:
        """Did the program itself evaluate, in evaluation mode, after its last step? Then take over
        what was seen there: to play it again would give the same."""
        s, views = self.signals, self.host.views
        seen = s.series("validation", "loss")
        if not views or not seen or seen[-1][0] != s.steps or views[-1][0].step != s.steps:
            return False
        if any(views[-1][0].training.values()) or s.last("validation", "n") < SAMPLES:
            return False
        for quantity in ("n", "error", "loss"):
            s.add("final", f"validation_{quantity}", s.steps, s.last("validation", quantity))
        return True

    def _found(self, shadow, kept, facts, which) -> DataLoss | None:
        goal = facts.get("target")  # not of each sample where only some were picked
        whole = goal is not None and len(goal) != kept.size()
        rows = spread(kept.size()) if kept.size() > SAMPLES and not whole else None
        try:
            played = shadow.play(kept, rows=rows)
        except (RuntimeError, IndexError):  # no part of this batch can be played alone
            rows, played = None, shadow.play(kept)
        if which == "train":
            self.calm[facts["step"]] = float(played[0])
            if len(played) < 3:
                return None
            return answered(facts, played[1], played[2])
        target = played[1] if len(played) > 1 else facts["target"]
        if len(played) == 1 and rows is not None:
            target = target[rows]
        return answered(facts, played[0], target)

    # ------------------------------------------------------------------ training on the copy
    def _study(self, shadow, final: list[torch.Tensor]) -> None:
        """Other rates from the first weights; one batch by heart; without input; held out."""
        s, host = self.signals, self.host
        if self.start:  # networks met later (an average of the weights) as they are now
            self.start = [*self.start, *final[len(self.start) :]]
            if any(a.shape != b.shape for a, b in zip(self.start, final, strict=False)):
                self.start = None  # layers were replaced on the way: there is no way back
        student = Student(host, shadow)
        if student.poor and self.start and rested(s) and asks_held_out(s) and shadow.parameters():
            # So few samples would hardly tell one rate from another; what Adam teaches they do tell.
            self._held_out(shadow, student)
            if adam_learns(s):
                return
        if self.start:
            shadow.mode(dropout=False)
            for name, value in student.rates(self.start).items():
                s.add("trial", name, 0, value)
        if student.settled():
            return
        shadow.put(final)
        if shadow.parameters():
            shadow.follow()
            for name, value in student.one_batch().items():
                s.add("trial", name, 0, value)
        # Whether labels and inputs belong together is asked only where one batch is learned.
        fits = s.last("trial", "batch_last") < 0.6 * s.last("trial", "batch_first")
        if (
            self.start
            and fits
            and asks_held_out(s)
            and shadow.parameters()
            and not s.last("trial", "held_n", 0)
        ):
            self._held_out(shadow, student)
        if not fits and learned(s) < 0.6:
            self._rival(shadow, student)
            if s.last("optimizer", "travel", 0.0) > 1:  # else the weights were not flung away
                self._blind(shadow)

    def _rival(self, shadow, student: Student) -> None:
        """Does a plain network with hidden units do better on batches held out?"""
        stored = [(kept, facts) for kept, facts in self.host.scores if facts["kind"]]
        held = len(stored) // 3
        if not held:
            return
        shadow.follow()
        shadow.mode(False)
        found = [self._found(shadow, kept, facts, "train") for kept, facts in stored[-held:]]
        own = [wrong for one in found if one and (wrong := one.wrong()) is not None]
        error, n = student.rival(stored[:-held], stored[-held:])
        if own and n:
            self.signals.add("trial", "own_error", 0, float(torch.cat(own).mean()))
            self.signals.add("trial", "rival_error", 0, error)
            self.signals.add("trial", "rival_n", 0, n)

    def _held_out(self, shadow, student: Student) -> None:
        """From the first weights, Adam on some batches: the error on the others."""
        error, n = self._taught(shadow, student)
        if n:
            self.signals.add("trial", "held_error", 0, error)
            self.signals.add("trial", "held_n", 0, n)

    def _thaw(self, shadow, student: Student) -> None:
        """Would layers that are frozen with random weights do more if they were taught as well?"""
        kept, n = self._taught(shadow, student)
        with shadow.thawed():
            taught, _ = self._taught(shadow, student)
        for name, value in (("kept", kept), ("taught", taught), ("n", n)):
            self.signals.add("thaw", name, 0, value)

    def _taught(self, shadow, student: Student) -> tuple[float, int]:
        """Error on batches held out, after 120 steps of Adam on the others, and of how many samples."""
        stored = [pair for pair in self.host.scores if pair[1]["kind"]]
        held = len(stored) // 3
        if not held or not student.learn(self.start, [kept for kept, _ in stored[held:]]):
            return math.nan, 0
        shadow.mode(False)
        met = {mark for kept, _ in stored[held:] for mark in sample_marks(kept)}
        bad = []
        for kept, facts in stored[:held]:
            if sum(map(len, bad)) >= 2 * SAMPLES:
                break
            found = self._found(shadow, kept, facts, "train")
            wrong = found.wrong() if found is not None else None
            if wrong is not None:  # samples come back in later epochs: only new ones count
                new = [mark not in met for mark in sample_marks(kept)][: len(wrong)]
                bad.append(wrong[torch.tensor(new)] if len(new) == len(wrong) else wrong)
        whole = torch.cat(bad) if bad else torch.empty(0)
        return (float(whole.mean()), whole.numel()) if whole.numel() else (math.nan, 0)

    def _blind(self, shadow) -> None:
        """Does the output depend on the input at all? (inputs set to zero)"""
        shadow.follow()
        shadow.mode(False)
        score = self.host.scores[-1][0]
        rows = spread(score.size()) if score.size() > SAMPLES else None
        played, blind = (
            shadow.play(score, rows=rows, tweak=tweak) for tweak in (None, torch.zeros_like)
        )
        self.signals.add("trial", "sighted", 0, float(played[0]))
        self.signals.add("trial", "blind", 0, float(blind[0]))


def _others(x: torch.Tensor) -> torch.Tensor:
    return x.roll(1, 0) if x.ndim else x


def sample_marks(kept: Score) -> list[float]:
    """The fingerprints of the samples that a tape's network was given."""
    return fingerprints(kept.batch.tensor) if kept.batch is not None else []
