"""When to look, and how much an experiment may cost: counted work, never a stopwatch.

A finding must not depend on how busy the machine is. So looks and experiments are bought
with nominal seconds: what an operation costs on one ordinary core, from its name and shapes.
The program earns them by its steps, the doctor spends a share of what was earned. Each purse has
a credit for programs too short to earn anything; beyond it, all purses and what is done in any
case (first looks, the hooks on each step) share one account. The experiments on a program that
did not learn have an account of their own.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from visus.doctor.names import WEIGHT

# Losses and labels are read after every 8 steps at first, then 12 times a doubling, 6 times in long
# programs: those buy what they can afford beyond it.
SPREAD, LONG = 12, 256
STEP = 2.5  # a training step in forward passes: forward, backward, update (measured 2.1 to 3)

# Nominal seconds by kind of device: one call, one multiplication, one number written.
CALL = {"cpu": 8e-6}
MULTIPLY = {"cpu": 4e-11}
WRITE = {"cpu": 1e-9}
OTHER = (1e-5, 1e-13, 2e-12)  # accelerators
LOOK, TENSOR, READ = 2e-4, 1.5e-4, 1.2e-8  # a look: by operation, by parameter, by number
GLANCE, PLAY, HOOKS = 2.5e-3, 7e-4, 5e-5  # a light look, a tape played again, any step at all

# Shares of the doctor's part for each purpose, and what each may spend in any case.
PURSES = {
    "looks": (0.25, 0.0), "views": (0.15, 0.0), "steps": (0.1, 0.02),
    "end": (0.15, 0.03), "trials": (1.25, 0.3), "landscape": (0.1, 0.02),
}  # fmt: skip
APART = {"trials"}  # only where nothing was learned: on top of what a healthy program pays


class Schedule:
    """What the program has earned, what the doctor has spent; both in nominal seconds.

    Args:
        share: the part of the program's work that the doctor may do (0.02 = 2 %).
    """

    def __init__(self, share: float = 0.02):
        self.share = share
        self.earned = 0.0
        self.forward = 2e-4  # one forward pass of the training batch; of it, the mere calls:
        self.dispatch = 1e-4
        self.calls, self.size, self.tensors = 20, 0, 0  # operations, numbers read, parameters
        self.gain = self.look = 0.0  # what a step earns, what a full look costs
        self._priced()
        self.spent = dict.fromkeys(PURSES, 0.0)
        self.together = 0.0  # of it, what shares one account
        self.forced = 0.0  # what was done in any case
        self.restart(0)
        self._phase, self._seen, self._phases = -1, 0, 0
        self._pass: list[float] | None = None

    # ------------------------------------------------------------------ prices
    def open(self) -> None:
        """A pass that is recorded in full begins: `call` is told of each operation."""
        self._pass = [0.0, 0, 0, 0.0]

    def call(self, name: str, args: Any, kwargs: Any, result: Any) -> None:
        """One torch call of this pass."""
        if self._pass is None or not isinstance(result, torch.Tensor) or name == "attribute":
            return
        kind, size = result.device.type, result.numel()
        price = CALL.get(kind, OTHER[0]) + WRITE.get(kind, OTHER[2]) * size
        if name in WEIGHT:
            weight = kwargs.get("weight", args[1] if len(args) > 1 else None)
            if isinstance(weight, torch.Tensor) and weight.ndim > 1:
                price += MULTIPLY.get(kind, OTHER[1]) * size * math.prod(weight.shape[1:])
        self._pass[0] += price
        self._pass[1] += 1
        self._pass[2] += min(size, 1 << 16)
        self._pass[3] += CALL.get(kind, OTHER[0])

    def close(self, tensors: int) -> None:
        """The pass is over: `tensors` parameters are being trained."""
        if self._pass is not None and self._pass[1]:
            self.forward, self.calls, self.size = (
                self._pass[0],
                int(self._pass[1]),
                int(self._pass[2]),
            )
            self.dispatch = self._pass[3]
            self.tensors = tensors
            self._priced()
        self._pass = None

    def _priced(self) -> None:
        self.gain = STEP * self.forward + 3e-5 * self.tensors
        self.look = GLANCE + self.calls * LOOK + self.tensors * TENSOR + self.size * READ

    def price(self, part: float, *, grad: bool = False) -> float:
        """What a pass over `part` of a batch costs, with its gradient and update if `grad`."""
        forward = self.dispatch + part * (self.forward - self.dispatch)
        return STEP * forward if grad else forward

    def left(self, purse: str) -> float:
        """What `purse` may still spend: of its credit, or of its share while the account lasts."""
        share, credit = PURSES[purse]
        budget = self.share * self.earned
        own = share * budget - self.spent[purse]
        if purse not in APART:
            own = min(own, 0.8 * budget - self.forced - self.together)
        return max(credit - self.spent[purse], own)

    def affords(self, purse: str, price: float) -> bool:
        """May `purse` pay `price`? If so it has paid."""
        if price > self.left(purse):
            return False
        self.pay(purse, price)
        return True

    def pay(self, purse: str, price: float) -> None:
        """Pay for what was done: its cost was not known before."""
        self.spent[purse] += price
        if purse not in APART:
            self.together += price

    # ------------------------------------------------------------------ when to look
    def restart(self, step: int) -> None:
        """Another stage of training begins after `step` steps: it is looked at as closely as the first."""
        self._dense, self._light, self._since = 0, 0, step
        self.level = 2

    def step(self, step: int) -> int:
        """A step was taken, `step` in all. How closely to look at the next: 0 not, 1 losses and
        labels, 2 layers too."""
        step -= self._since
        self.earned += self.gain
        self.forced += HOOKS
        self.level = self._level(step)
        if self.level:
            self._light = step
            self._dense = step if self.level == 2 else self._dense
        return self.level

    def _level(self, step: int) -> int:
        if step < 3 or (step & (step - 1) == 0 and (step < 32 or step - self._dense >= 4)):
            self.forced += self.look
            return 2
        gap = max(8, step // SPREAD) * (1 if step < LONG else 2)
        if step % 4 and step > 6 and step - self._light < gap:
            return 0
        apart = step % 4 == 0 and step > 16 and step - self._dense >= 8
        if apart and self.affords("looks", self.look):
            return 2
        if step in (3, 5, 6) or step - self._light >= gap:
            self.forced += GLANCE
            return 1
        return int(step % 4 == 0 and self.affords("looks", GLANCE))

    def view(self, step: int) -> bool:
        """Is one more pass without gradients, after `step` steps, worth recording?"""
        if step != self._phase:
            self._phase, self._seen, self._phases = step, 0, self._phases + 1
            self.forced += GLANCE / 10  # to notice an evaluation is not free either
        self._seen += 1
        n = self._phases  # the first evaluations in any case, later ones ever more rarely
        free = 3 if n <= 3 else 1 if n & (n - 1) == 0 else 0
        price = GLANCE + self.forward / 10
        if self._seen <= free:
            self.forced += price
            return True
        return self._seen <= 64 and self.affords("views", price)
