"""The doctor as a callback of Keras on its torch backend, whose optimizers are not torch's."""

from __future__ import annotations

from typing import Any

from visus.doctor.callbacks import framework
from visus.doctor.callbacks.visit import Twin, Visit, aloud
from visus.errors import UsageError

_keras: Any = framework("Keras", "keras", "pip install keras")


class KerasDoctor(_keras.callbacks.Callback):
    """Watches `model.fit`; findings are printed when it ends.

    `model.fit(x, y, callbacks=[KerasDoctor()])`, with KERAS_BACKEND=torch. Options go to
    `visus.Doctor`. Keras tells its callbacks nothing of an exception: after one,
    `callback.visit.close()` ends the watch (so does the next `fit`).
    """

    def __init__(self, say: Any = aloud, **options: Any):
        super().__init__()
        if _keras.backend.backend() != "torch":
            raise UsageError(
                f"callbacks: Keras runs on {_keras.backend.backend()}; the doctor follows torch: "
                "set KERAS_BACKEND=torch before keras is imported"
            )
        self.visit, self._restore = Visit(say, **options), None

    def on_train_begin(self, logs: Any = None) -> None:
        self._give_back()
        self.visit.open()
        optimizer = self.model.optimizer
        twin = Twin(self.visit.doctor, type(optimizer).__name__)  # type: ignore[arg-type]
        apply = optimizer.apply

        def watched(grads: Any, trainable_variables: Any = None) -> None:
            variables = self.model.trainable_variables
            if trainable_variables is not None:
                variables = trainable_variables
            rate = float(optimizer.learning_rate)
            twin.before([{"params": [v.value for v in variables], "lr": rate}])
            apply(grads, trainable_variables)
            twin.after()

        object.__setattr__(optimizer, "apply", watched)
        self._restore = optimizer

    def on_train_end(self, logs: Any = None) -> None:
        self._give_back()
        self.visit.close()

    def _give_back(self) -> None:
        optimizer, self._restore = self._restore, None
        if optimizer is not None:
            object.__delattr__(optimizer, "apply")

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The findings of the last fit, causes first."""
        return self.visit.findings

    def letter(self) -> str:
        """The findings of the last fit as text."""
        return self.visit.letter()
