"""The doctor as a callback of fastai, whose optimizers are not torch's."""

from __future__ import annotations

from typing import Any

import torch

from visus.doctor.callbacks import framework
from visus.doctor.callbacks.visit import Twin, Visit, aloud

_Callback: Any = framework("fastai", "fastai.callback.core", "pip install fastai").Callback


class FastaiDoctor(_Callback):
    """Watches `learn.fit`; findings are printed when it ends.

    `learn.fit(3, cbs=[FastaiDoctor()])`. Options go to `visus.Doctor`. fastai tells its
    callbacks nothing of an exception: after one, `callback.visit.close()` ends the watch.
    """

    def __init__(self, say: Any = aloud, **options: Any):
        super().__init__()
        self.visit, self.twin = Visit(say, **options), None

    def before_fit(self) -> None:
        self.visit.open(self.learn.model)
        inner = getattr(self.learn.opt, "opt", None)  # OptimWrapper: torch's own, seen by itself
        self.twin = None if isinstance(inner, torch.optim.Optimizer) else self._twin()

    def _twin(self) -> Twin:
        adaptive = any("sqr_mom" in hyper for hyper in self.learn.opt.hypers)
        return Twin(self.visit.doctor, "Adam" if adaptive else "SGD")  # type: ignore[arg-type]

    def before_step(self) -> None:
        if self.twin is not None:
            self.twin.before([_group(group) for group in self.learn.opt.param_groups])

    def after_step(self) -> None:
        if self.twin is not None:
            self.twin.after()

    def after_fit(self) -> None:
        self.visit.close()

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The findings of the last fit, causes first."""
        return self.visit.findings

    def letter(self) -> str:
        """The findings of the last fit as text."""
        return self.visit.letter()


def _group(group: dict[str, Any]) -> dict[str, Any]:
    named = {"lr": group["lr"], "weight_decay": group.get("wd", 0.0)}
    if "sqr_mom" not in group:
        named["momentum"] = group.get("mom", 0.0)
    return {"params": list(group["params"]), **named}
