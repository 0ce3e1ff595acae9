"""When to look, and how much an experiment may cost: counted work, never a stopwatch.

A finding must not depend on how busy the machine is. So looks and experiments are bought
with nominal seconds: what an operation costs on one ordinary core, from its name and shapes.
The program earns them by its steps, the doctor spends a share of what was earned.
"""

from __future__ import annotations

from typing import Any

import torch

from visus.doctor.names import WEIGHT

SPREAD = 12  # losses and labels are read after every 8 steps at first, then 12 times a doubling
STEP = 2.5  # a training step in forward passes: forward, backward, update (measured 2.1 to 3)

# Nominal seconds by kind of device: one call, one multiplication, one number written.
CALL = {"cpu": 8e-6}
MULTIPLY = {"cpu": 4e-11}
WRITE = {"cpu": 1e-9}
OTHER = (1e-5, 1e-13, 2e-12)  # accelerators
LOOK, TENSOR, READ = 8e-5, 6e-5, 1.2e-8  # a look: by operation, by parameter, by number

# Shares of the doctor's part for each purpose, and what each may spend in any case.
PURSES = {
    "looks": (0.4, 0.0), "views": (0.25, 0.0), "steps": (0.2, 0.03),
    "end": (0.25, 0.03), "trials": (1.5, 1.5), "landscape": (0.2, 0.03),
}  # fmt: skip


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
        self.spent = dict.fromkeys(PURSES, 0.0)
        self.level, self._dense, self._light = 2, 0, 0
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
                price += MULTIPLY.get(kind, OTHER[1]) * size * weight[0].numel()
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
        self._pass = None

    def price(self, part: float, *, grad: bool = False) -> float:
        """What a pass over `part` of a batch costs, with its gradient and update if `grad`."""
        forward = self.dispatch + part * (self.forward - self.dispatch)
        return STEP * forward if grad else forward

    def left(self, purse: str) -> float:
        """What `purse` may still spend."""
        share, credit = PURSES[purse]
        return credit + share * self.share * self.earned - self.spent[purse]

    def affords(self, purse: str, price: float) -> bool:
        """May `purse` pay `price`? If so it has paid."""
        if price > self.left(purse):
            return False
        self.spent[purse] += price
        return True

    # ------------------------------------------------------------------ when to look
    def step(self, step: int) -> int:
        """A step was taken, `step` in all. How closely to look at the next: 0 not, 1 losses and
        labels, 2 layers too."""
        self.earned += STEP * self.forward + 3e-5 * self.tensors
        price = self.calls * LOOK + self.tensors * TENSOR + self.size * READ
        power = step & (step - 1) == 0
        if step < 3 or (power and (step < 32 or step - self._dense >= 4)):
            self.level, self._dense = 2, step
            self.spent["looks"] += price  # in any case, but the later ones wait for it
        elif step > 16 and step - self._dense >= 8 and self.affords("looks", price):
            self.level, self._dense = 2, step
        elif step in (3, 5, 6) or step - self._light >= max(8, step // SPREAD) or (
            step % 4 == 0 and self.affords("looks", price / 8)):  # fmt: skip
            self.level = 1
        else:
            self.level = 0
        self._light = step if self.level else self._light
        return self.level

    def view(self, step: int) -> bool:
        """Is one more pass without gradients, after `step` steps, worth recording?"""
        if step != self._phase:
            self._phase, self._seen, self._phases = step, 0, self._phases + 1
        self._seen += 1
        n = self._phases  # the first evaluations in any case, later ones ever more rarely
        free = 3 if n <= 3 else 1 if n & (n - 1) == 0 else 0
        price = 1.5e-3 + self.forward / 10
        return self._seen <= free or (self._seen <= 64 and self.affords("views", price))
