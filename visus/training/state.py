"""All that changes while a model trains, and how it is taken, kept and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from visus.errors import RunError
from visus.training.distributed import ALONE, World
from visus.training.ema import Average
from visus.training.optimizers import Penalty
from visus.training.seeds import apart

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass
class State:
    """Model, optimizer and their company at one step. Everything else is a function of the step."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    penalty: Penalty
    criterion: nn.Module
    device: torch.device
    seed: int = 0
    world: World = ALONE
    precision: str = "float32"
    accumulate: int = 1
    clip: float | None = None
    average: Average | None = None
    step: int = 0
    scaler: Any = field(init=False)

    def __post_init__(self) -> None:
        self.set_precision(self.precision)
        self.weights = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.buffers = [b for b in self.model.buffers() if b.numel()]
        self._kept = [torch.empty_like(b) for b in self.buffers]

    def set_precision(self, precision: str) -> None:
        """Choose the precision of the forward pass; float16 brings a fresh gradient scaler."""
        self.precision = precision
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "float16")

    def autocast(self) -> Any:
        """The context of the forward pass."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, _DTYPES[self.precision])

    @property
    def judged(self) -> nn.Module:
        """The model that is evaluated and kept: the average where there is one."""
        return self.average.model if self.average else self.model

    def hold(self) -> None:
        """Remember the norm statistics, which a forward pass changes, for `release`."""
        torch._foreach_copy_(self._kept, self.buffers) if self.buffers else None

    def release(self) -> None:
        """Undo a step that was begun: no gradients, the norm statistics as `hold` saw them."""
        self.optimizer.zero_grad(set_to_none=True)
        torch._foreach_copy_(self.buffers, self._kept) if self.buffers else None

    def update(self) -> None:
        """The optimizer's step (which float16 may skip), then the moving average."""
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average:
            self.average.update(self.step)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state by name (not copied): model, average, optimizer."""
        found = _named("model", self.model)
        found |= _named("average", self.average.model) if self.average else {}
        for index, values in self.optimizer.state_dict()["state"].items():
            for key, value in values.items():
                if isinstance(value, Tensor):
                    found[f"optimizer.{index}.{key}"] = value
        return found

    def facts(self) -> dict[str, Any]:
        """The numbers of the state, as JSON holds them."""
        return {"step": self.step, "scaler": self.scaler.state_dict()}

    def load(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Put back what `tensors` and `facts` gave; raises `RunError` where they do not fit."""
        own = _named("model", self.model)
        own |= _named("average", self.average.model) if self.average else {}
        held = {name for name in tensors if not name.startswith("optimizer.")}
        bad = held ^ set(own) or {n for n in held if tensors[n].shape != own[n].shape}
        if bad:
            raise RunError(
                f"checkpoint: '{sorted(bad)[0]}' does not fit the network of the recipe; resume "
                "with the recipe of the run, or choose another --out"
            )
        with torch.no_grad():
            for name in held:
                own[name].copy_(tensors[name])
        self._load_optimizer(tensors)
        self.step = facts["step"]
        self.scaler.load_state_dict(facts["scaler"])

    def _load_optimizer(self, tensors: dict[str, Tensor]) -> None:
        self.optimizer.state.clear()
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".", 2)
                weight = self.weights[int(index)]
                self.optimizer.state[weight][key] = _like(weight, value)


def _named(prefix: str, model: nn.Module) -> dict[str, Tensor]:
    found = [*model.named_parameters(), *model.named_buffers()]
    return {f"{prefix}.{name}": tensor.detach() for name, tensor in found}


def _like(weight: Tensor, value: Tensor) -> Tensor:
    # In the layout of its weight: the optimizer's fast path wants equal strides.
    if value.shape != weight.shape:
        return value.clone()  # a counter, which stays where it was made
    return torch.empty_like(weight, dtype=value.dtype).copy_(value)


@contextmanager
def undisturbed(state: State) -> Iterator[None]:
    """Whatever happens inside leaves no trace: state, gradients, modes and torch's generators."""
    tensors = {name: tensor.clone() for name, tensor in state.tensors().items()}
    facts, precision = state.facts(), state.precision
    rates = [group["lr"] for group in state.optimizer.param_groups]
    grads = [weight.grad for weight in state.weights]
    modes = {module: module.training for module in state.model.modules()}
    for weight in state.weights:
        weight.grad = None
    try:
        with apart():
            yield
    finally:
        state.set_precision(precision)
        state.load(tensors, facts)
        for group, rate in zip(state.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        for weight, grad in zip(state.weights, grads, strict=True):
            weight.grad = grad
        for module, training in modes.items():
            module.training = training
