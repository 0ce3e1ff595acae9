"""The doctor as a callback of Lightning (`lightning` or `pytorch_lightning`)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from visus.doctor.callbacks import framework
from visus.doctor.callbacks.visit import Visit, aloud

_NAME = "lightning.pytorch" if find_spec("lightning") else "pytorch_lightning"
_Callback: Any = framework("Lightning", _NAME, "pip install lightning").Callback


class LightningDoctor(_Callback):
    """Watches `trainer.fit`; findings are printed when it ends, by the first rank only.

    `Trainer(callbacks=[LightningDoctor()])`. Options go to `visus.Doctor`.
    """

    def __init__(self, say: Any = aloud, **options: Any):
        self.visit, self._say = Visit(say, **options), say

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self.visit.say = self._say if trainer.is_global_zero else None
        self.visit.open()  # the module's children are found by their calls

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self.visit.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.visit.close(exception)

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The findings of the last fit, causes first."""
        return self.visit.findings

    def letter(self) -> str:
        """The findings of the last fit as text."""
        return self.visit.letter()
