"""Tasks: what is asked of a network beside the images. One member a file, one class a member.

A task owns how many outputs a network needs, the loss over the targets as the data holds them,
what is said of a test set and what a prediction is. Nothing else asks which task it is.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from visus.errors import RecipeError
from visus.family import Family
from visus.models import build, choose, networks
from visus.training.members import family

tasks = Family("task", package=__name__)
Line = tuple[str, dict[str, Any]]


class Task:
    """The face of a task. `names` are those of its outputs; `facts` what it learned from train.

    `losses` are those that fit, the first its own. `error` says what the error is a share of:
    (noun, axis, the sentence of chance). `mirror`: whether a mirror image has the same answer.
    """

    losses: tuple[str, ...] = ()
    loss_options: dict[str, Any] = {}  # noqa: RUF012
    per_pixel = False
    mirror = False
    output = "logits"
    noun, axis = "error", "share of answers that are wrong"
    rate = 1.0  # of the optimizer's usual rate: less where the loss is steeper than cross entropy
    chooses = False  # whether something is chosen on validation when the model is finished

    def __init__(self, names: list[str], facts: dict[str, Any] | None = None):
        self.names, self.facts = list(names), dict(facts or {})

    @property
    def name(self) -> str:
        """As the family knows it."""
        return next(key for key, kind in tasks.items() if kind is type(self))

    @property
    def outputs(self) -> int:
        """Outputs of the network."""
        return len(self.names)

    def fit(self, dataset: Any) -> None:
        """Learn `facts` from train alone."""

    def network(self, model: Any, channels: int, size: tuple[int, int]) -> nn.Module:
        """The network of a recipe's `model` section, with the outputs of this task."""
        kind = networks[model.name] if model.name in networks else None  # noqa: SIM401
        if kind is not None and getattr(kind, "per_pixel", False) != self.per_pixel:
            raise RecipeError(
                f"recipe: model '{model.name}' does not answer a {self.name} (one answer "
                f"{'a pixel' if self.per_pixel else 'an image'}); choose {choose(size, self.per_pixel)}"
            )
        return build(model.name, channels, self.outputs, size, **model.options())

    def criterion(self, name: str, options: dict[str, Any]) -> nn.Module:
        """The loss over outputs and targets as the data holds them."""
        return Over(self, family("loss").make(name, **self.loss_given(name), **options))

    def standard(self, recipe: Any = None) -> nn.Module:
        """The loss of `recipe`, or the task's own: what an evaluation reports beside the error."""
        if recipe is not None and recipe.loss.name in self.losses:
            return self.criterion(recipe.loss.name, recipe.loss.options())
        return self.criterion(self.losses[0], self.loss_options)

    def loss_given(self, name: str) -> dict[str, Any]:
        """Options of the loss that the task decides."""
        return {}

    def loss(self, loss: nn.Module, outputs: Tensor, targets: Tensor) -> Tensor:
        """`loss` of outputs and raw targets."""
        return loss(outputs, targets)

    def answer(self, outputs: Tensor) -> Tensor:
        """What leaves the model, in the units of the targets; this is what ONNX exports."""
        return outputs

    def gather(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What is kept of a batch to be evaluated, first axis the images."""
        return self.answer(outputs).cpu()

    def mirrored(self, outputs: Tensor, flipped: Tensor) -> Tensor:
        """Outputs of an image and of its mirror image, as one."""
        return (outputs + flipped) / 2

    def read(self, said: Tensor, targets: Tensor, names: list[str], loss: float) -> Any:
        """The evaluation of what was gathered."""
        raise NotImplementedError

    def settle(self, seen: Any) -> None:
        """Choose what is to be chosen on validation (where `chooses`)."""

    def rows(self, outputs: Tensor, top: int) -> list[dict[str, Any]]:
        """What `predict` says of each image."""
        raise NotImplementedError

    def lines(self, seen: Any, images: Any, model: nn.Module) -> list[Line]:
        """Ledger lines about a look beside its numbers."""
        return []

    def labels(self, targets: Tensor) -> list[str]:
        """A word for each target, for sheets of images."""
        return ["" for _ in range(len(targets))]

    def goal(self, targets: Tensor) -> Tensor | None:
        """Outputs `(n, K)` a linear model would aim at, or None where that has no sense."""
        return None

    def described(self) -> dict[str, Any]:
        """As model.json holds it."""
        return {"name": self.name, "names": self.names, "facts": self.facts}


class Over(nn.Module):
    """A loss behind the encoding of a task."""

    def __init__(self, task: Task, loss: nn.Module):
        super().__init__()
        self.task, self.loss = task, loss

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.task.loss(self.loss, outputs, targets)


def make_task(name: str, dataset: Any, **options: Any) -> Task:
    """The task `name` ("auto": what the data asks), fitted to train."""
    name = getattr(dataset, "task", "classification") if name == "auto" else name
    task = tasks.make(name, list(dataset.classes), **options)
    task.fit(dataset)
    return task


def task_of(facts: dict[str, Any], options: dict[str, Any] | None = None) -> Task:
    """The task of a model file; one from before there were tasks is a classification."""
    held = facts.get("task") or {"name": "classification", "names": facts["classes"], "facts": {}}
    return tasks.make(held["name"], held["names"], held["facts"], **(options or {}))
