"""The doctor as a callback of the Hugging Face Trainer."""

from __future__ import annotations

from typing import Any

from visus.doctor.callbacks import framework
from visus.doctor.callbacks.visit import Visit, aloud

_Callback: Any = framework(
    "transformers", "transformers", "pip install transformers accelerate"
).TrainerCallback


class TransformersDoctor(_Callback):
    """Watches `trainer.train`; findings are printed when it ends, by the first process only.

    `Trainer(..., callbacks=[TransformersDoctor()])`. Options go to `visus.Doctor`. The Trainer
    tells its callbacks nothing of an exception: after one, `callback.visit.close()` ends the
    watch (so does the next `train`).
    """

    def __init__(self, say: Any = aloud, **options: Any):
        self.visit, self._say = Visit(say, **options), say

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.visit.say = self._say if state.is_world_process_zero else None
        self.visit.open(kwargs.get("model"))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.visit.close()

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The findings of the last training, causes first."""
        return self.visit.findings

    def letter(self) -> str:
        """The findings of the last training as text."""
        return self.visit.letter()
