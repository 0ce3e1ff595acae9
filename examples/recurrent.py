"""Layer norm beside batch norm in a recurrent network: an LSTM that reads digits row by row.

    python examples/recurrent.py [SEEDS]

Each image of the digits is a sequence of 8 rows of 8 pixels. The cell is that of Ba, Kiros & Hinton
2016 (equations 20 to 22), with a norm on the input's and on the state's part of the gates and on the
cell state before its output:

    f, i, o, g = norm(W x) + norm(U h) + b
    c = sigmoid(f) c + sigmoid(i) tanh(g)
    h = sigmoid(o) tanh(norm(c))

Layer norm asks nothing but the sample itself: the same at each step, in training and in use, for any
batch. Batch norm needs the batch, and the statistics of the state change from step to step: either
one set of running statistics serves all steps badly, or each step has its own (Cooijmans et al. 2017),
which is of no use where step 5 is another part of the digit in each image.
"""

import statistics
import sys
import time
from dataclasses import dataclass

import torch
from torch import nn

from visus.data import epoch_order, prepare
from visus.layers import BatchNorm1d, CrossEntropyLoss, Identity, LayerNorm, Linear

UNITS, STEPS = 48, 8


@dataclass(frozen=True)
class Task:
    """How a network is trained: with `varied`, each digit begins at a step of its own."""

    batch: int
    passes: int
    varied: bool = False


TASKS = {
    "batches of 64": Task(64, 6),
    "of 4, one pass": Task(4, 1),
    "64, varied start": Task(64, 8, varied=True),
}


class PerStep(nn.Module):
    """A batch norm of its own for each step of the sequence; the last serves all later ones."""

    def __init__(self, units: int):
        super().__init__()
        self.norms = nn.ModuleList(BatchNorm1d(units) for _ in range(STEPS))

    def forward(self, x: torch.Tensor, step: int) -> torch.Tensor:
        return self.norms[min(step, STEPS - 1)](x)


class Same(nn.Module):
    """One norm for all steps."""

    def __init__(self, norm: nn.Module):
        super().__init__()
        self.norm = norm

    def forward(self, x: torch.Tensor, step: int) -> torch.Tensor:
        return self.norm(x)


NORMS = {
    "none": lambda units: Same(Identity()),
    "batch, one for all steps": lambda units: Same(BatchNorm1d(units)),
    "batch, one a step": PerStep,
    "layer": lambda units: Same(LayerNorm(units)),
}


class Reader(nn.Module):
    """Rows `(N, steps, 8)` to logits `(N, 10)` of what the last state says."""

    def __init__(self, norm):
        super().__init__()
        self.x = Linear(8, 4 * UNITS, bias=False)
        self.h = Linear(UNITS, 4 * UNITS, bias=False)
        self.bias = nn.Parameter(torch.zeros(4 * UNITS))
        self.norm_x, self.norm_h, self.norm_c = norm(4 * UNITS), norm(4 * UNITS), norm(UNITS)
        self.head = Linear(UNITS, 10)
        with torch.no_grad():  # remember, at first (Jozefowicz et al. 2015)
            self.bias[:UNITS] = 1.0

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        h = c = rows.new_zeros(len(rows), UNITS)
        for step in range(rows.shape[1]):
            gates = self.norm_x(self.x(rows[:, step]), step) + self.norm_h(self.h(h), step)
            f, i, o, g = (gates + self.bias).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * self.norm_c(c, step).tanh()
        return self.head(h)


def rows_of(images) -> tuple[torch.Tensor, torch.Tensor]:
    """All images of a set as sequences of rows, mean 0 and deviation about 1."""
    pixels = images.batch(torch.arange(len(images)))[:, 0].float() / 255
    return (pixels - 0.3) / 0.38, images.targets


def delayed(rows: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """`(N, 16, 8)`: each digit begins up to 8 empty rows later and is followed by its last row."""
    begin = torch.randint(0, 9, (len(rows), 1), generator=draw)
    at = torch.arange(16) - begin
    found = rows[torch.arange(len(rows))[:, None], at.clamp(0, STEPS - 1)]
    return found.where((at >= 0)[:, :, None], rows.min())


def train(norm, task: Task, seed: int, train_set, validation) -> float:
    """The validation error after the passes of a task."""
    torch.manual_seed(seed)
    model, loss_of, draw = Reader(norm), CrossEntropyLoss(), torch.Generator().manual_seed(seed)
    rows, targets = train_set
    optimizer = torch.optim.Adam(model.parameters(), 3e-3 * (task.batch / 64) ** 0.5)
    for epoch in range(task.passes):
        for chosen in epoch_order(len(rows), seed, epoch).split(task.batch):
            if len(chosen) == task.batch:
                x = delayed(rows[chosen], draw) if task.varied else rows[chosen]
                optimizer.zero_grad()
                loss_of(model(x), targets[chosen]).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
    x = delayed(validation[0], torch.Generator().manual_seed(99)) if task.varied else validation[0]
    return error(model, x, validation[1])


@torch.no_grad()
def error(model: nn.Module, rows: torch.Tensor, targets: torch.Tensor) -> float:
    model.eval()
    return float((model(rows).argmax(1) != targets).float().mean())


def main(seeds: int) -> None:
    digits, began = prepare("digits"), time.time()
    sets = rows_of(digits.train), rows_of(digits.validation)
    print(f"validation error, mean and deviation over {seeds} seeds\n")
    print(f"{'norm':26}" + "".join(f"{name:>20}" for name in TASKS))
    for name, norm in NORMS.items():
        print(f"{name:26}", end="", flush=True)
        for task in TASKS.values():
            found = [train(norm, task, seed, *sets) for seed in range(seeds)]
            said = f"{statistics.mean(found):.1%} ± {statistics.pstdev(found):.1%}"
            print(f"{said:>20}", end="", flush=True)
        print()
    print(f"\n{time.time() - began:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
