"""The recipe: the whole declarative choice of a training, one typed tree, one TOML file.

Each section is one class, each key one field with its description; `docs/recipe.md` is
generated from them (`python -m visus.training.recipe_docs`). A thing chosen by name (network,
loss, optimizer, ...) is a string or a table `{name = "...", option = value}`; its options are
the parameters of that member where it is defined. "auto" is replaced once, at the start of a
run, by what was chosen for the data and the machine: the run's `recipe.toml` holds the result.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from visus.family import Choice, Range
from visus.training.members import check_jitter, check_member, check_model
from visus.training.values import duration, jitter_table, names

Auto = Literal["auto"]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[Positive | None, BeforeValidator(duration)]


class Section(BaseModel):
    """A table of the recipe: keys are fixed, values are checked, nothing changes in place."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )


class Named(Section):
    """A section that chooses a member of a family; other keys are that member's options."""

    model_config = ConfigDict(extra="allow")
    name: str

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given

    def options(self) -> dict[str, Any]:
        """The options for the member: the keys that are not fields of the section."""
        return dict(self.model_extra or {})


class Data(Section):
    """Where the images come from and how they are divided."""

    path: str | None = Field(
        default=None, description="Folder, manifest, .npz file or name of a data set."
    )
    size: Count | None = Field(
        default=None, description="Side in pixels; without it chosen from the data."
    )
    channels: Literal[1, 3] | None = Field(
        default=None, description="1 grey, 3 color; without it chosen from the data."
    )
    drop: Annotated[tuple[str, ...], BeforeValidator(names)] = Field(
        default=(), description="Classes to leave out."
    )
    exclude: str | None = Field(
        default=None,
        description="File with one image name a line to leave out; nothing is deleted.",
    )
    validation: Share = Field(
        default=0.1, description="Share of the images held out for validation."
    )
    test: Share = Field(default=0.1, description="Share of the images that goes into the vault.")
    max_bad: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.01, description="Share of unreadable files above which the run does not start."
    )
    budget_mb: Positive | None = Field(
        default=None,
        description="Memory-mapped cache of decoded images, at most this many megabytes.",
    )
    workers: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Threads that decode images; without it one a processor."
    )

    def options(self) -> dict[str, Any]:
        """The keywords for `visus.data.prepare` that are set."""
        return self.model_dump(exclude={"path"}, exclude_none=True)


class Model(Named):
    """The network. Other keys are options of the network, such as `width`."""

    name: str = Field(
        default="auto", description='A network by name; "auto" chooses by image size.'
    )
    norm: Annotated[str | None, Choice()] = Field(
        default=None, description="Normalization layer; without it the network's own."
    )
    activation: Annotated[str | None, Choice()] = Field(
        default=None, description="Activation; without it the network's own."
    )
    dropout: Annotated[Share | None, Range(0.0, 0.5)] = Field(
        default=None, description="Share of units dropped in training."
    )
    pretrained: str | None = Field(
        default=None,
        description="Local .safetensors file to start from; the head is fresh if it differs.",
    )

    @model_validator(mode="after")
    def _known(self) -> Model:
        check_model(self.name, self.options(), type(self).model_fields)
        return self

    def options(self) -> dict[str, Any]:
        shared = {"norm": self.norm, "activation": self.activation, "dropout": self.dropout}
        given = {key: value for key, value in shared.items() if value is not None}
        return given | dict(self.model_extra or {})


class Init(Named):
    """How the weights start."""

    name: Annotated[str, Choice()] = Field(
        default="auto", description='"auto" keeps the initialization the network brings.'
    )

    @model_validator(mode="after")
    def _known(self) -> Init:
        check_member("init", self.name, self.options(), type(self).model_fields)
        return self


class Task(Named):
    """What is asked of the images: classes, numbers, an order, pixels."""

    name: str = Field(default="auto", description='A task by name; "auto": what the data asks.')

    @model_validator(mode="after")
    def _known(self) -> Task:
        check_member("task", self.name, self.options(), type(self).model_fields)
        return self


class Loss(Named):
    """What is minimized; cross entropy stands for the task's own loss where the task has another."""

    name: str = Field(default="cross-entropy", description="A loss by name.")

    @model_validator(mode="after")
    def _known(self) -> Loss:
        check_member("loss", self.name, self.options(), type(self).model_fields)
        return self


class Regularization(Section):
    """Penalties on the weights, never on biases or on the parameters of norms.

    Dropout is `model.dropout`, label smoothing `loss.label_smoothing`, jitter its own section.
    """

    l2: Annotated[Annotated[float, Field(ge=0)] | Auto, Range(0.01, 10, log=True, times=True)] = (
        Field(
            default="auto",
            description="Strength of the L2 penalty; auto: 5e-4 for sgd, 0.05 for adamw.",
        )
    )
    decoupled: bool | Auto = Field(
        default="auto",
        description="Shrink the weights by rate * l2 apart from the gradient (Loshchilov & Hutter "
        "2019) instead of adding l2 * w to it; auto: the form the optimizer brings.",
    )
    l1: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="Strength of the L1 penalty."
    )


class Optimizer(Named):
    """Who turns gradients into steps."""

    name: Annotated[str, Choice(always=True)] = Field(
        default="sgd", description="An optimizer by name."
    )
    rate: Annotated[Positive | Auto, Range(0.03, 10, log=True, times=True)] = Field(
        default="auto",
        description="Peak learning rate; auto: by a range test before the first step.",
    )
    body_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.1,
        description="With model.pretrained: rate of the body, as a share of the fresh head's.",
    )

    @model_validator(mode="after")
    def _known(self) -> Optimizer:
        check_member("optimizer", self.name, self.options(), type(self).model_fields)
        return self


class Schedule(Named):
    """How the learning rate moves from the first step to the last."""

    name: Annotated[str, Choice()] = Field(default="one-cycle", description="A schedule by name.")

    @model_validator(mode="after")
    def _known(self) -> Schedule:
        check_member("schedule", self.name, self.options(), type(self).model_fields)
        return self


class Training(Section):
    """The loop: how long, how large the batches, how exact, on how many threads."""

    batch_size: Annotated[Count | Auto, Range(0.5, 4, log=True, times=True)] = Field(
        default="auto", description="Images a step; auto: 32 to 128 by the number of images."
    )
    epochs: Count | Auto = Field(
        default="auto",
        description="Passes over train; auto: by the number of images and the time limit.",
    )
    time_limit: Seconds = Field(
        default=None, description='Seconds, or "90s", "20m", "1.5h"; the epochs are planned to fit.'
    )
    clip: Annotated[Positive | None, Range(0.1, 10, log=True, always=False)] = Field(
        default=None, description="Largest norm of the whole gradient."
    )
    accumulate: Count = Field(
        default=1, description="Parts a batch is computed in, to save memory."
    )
    ema: Annotated[Share, Choice((0.0, 0.99, 0.999))] = Field(
        default=0.0, description="Decay of the moving average of the weights; 0 is off."
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Of the forward pass; weights and sums stay float32."
    )
    early_stopping: Count | None = Field(
        default=None, description="Stop after this many epochs without a better validation error."
    )
    threads: Count | Auto = Field(
        default="auto", description="CPU threads; auto: by a short timed probe."
    )
    channels_last: bool | Auto = Field(
        default="auto",
        description="Memory layout (N, H, W, C); auto: yes for networks that convolve.",
    )
    balance: Literal["none", "sampling", "weights"] = Field(
        default="none",
        description="Of the classes: draw the rarer ones more often, or weigh them more in the loss.",
    )
    quarantine: Annotated[tuple[str, ...], BeforeValidator(names)] = Field(
        default=(),
        description="Names of training images that are not learned from; they are kept and listed.",
    )
    checkpoint_every: Seconds = Field(
        default=60.0,
        description="Seconds between checkpoints inside an epoch; each epoch ends with one.",
    )


class Recipe(Section):
    """The whole choice of one training."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        default=0,
        description="Seed of the split, the initialization, the order, the jitter and dropout.",
    )
    normalization: Literal["channel", "none"] = Field(
        default="channel",
        description="Of the input: mean 0 and deviation 1 per channel, from train only.",
    )
    jitter: Annotated[
        Literal["auto", "none"] | dict[str, dict[str, Any]], BeforeValidator(jitter_table)
    ] = Field(
        default="auto",
        description='"auto", "none" or a table {name = {option = value}}; train only.',
    )
    data: Data = Field(default_factory=Data)
    task: Task = Field(default_factory=Task)
    model: Model = Field(default_factory=Model)
    init: Init = Field(default_factory=Init)
    loss: Loss = Field(default_factory=Loss)
    regularization: Regularization = Field(default_factory=Regularization)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    schedule: Schedule = Field(default_factory=Schedule)
    training: Training = Field(default_factory=Training)

    @model_validator(mode="after")
    def _known(self) -> Recipe:
        check_jitter(self.jitter)
        return self

    def reading(self) -> dict[str, Any]:
        """The keywords for `visus.data.prepare`: of the data, and as what task it is read."""
        return self.data.options() | {"task": self.task.name}

    def tree(self) -> dict[str, Any]:
        """The recipe as plain nested tables, without the keys that are not set."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_toml(self) -> str:
        """The recipe as a TOML text that `load_recipe` reads back to an equal recipe."""
        import tomli_w

        return tomli_w.dumps(self.tree())

    def edited(self, edits: list[str]) -> Recipe:
        """A new recipe with `key=value` edits applied, such as "optimizer.rate=0.01"."""
        from visus.training.reading import apply, validate

        return validate(apply(self.tree(), edits))
