"""The lecture's table of symptoms, each produced on purpose and read by the doctor."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from visus.data.audit.drift import shares_differ
from visus.doctor import audited
from visus.doctor.signals import Signals
from visus.doctor.watching import Doctor
from visus.lab import experiments
from visus.lab.bench import Images, batches, images, mlp, start
from visus.lab.experiment import Check, Experiment, Settings

# name of the disease: (what is changed in a healthy training, the findings that name it)
CASES = {
    "healthy": ({}, ()),
    "error explodes": ({"rate": 30.0}, ("learning-rate-too-large", "loss-not-finite")),
    "error falls very slowly": ({"rate": 2e-6}, ("learning-rate-too-small",)),
    "huge training error": ({"decay": 0.5}, ("regularization-too-strong", "underfitting")),
    "test error far above": ({"train": 80, "noise": 0.25}, ("overfitting", "label-noise")),
    "bad division": ({"ordered": True}, ("split-unrepresentative",)),
}


def divided(seed: int, train: int, ordered: bool) -> Images:
    """The usual division at random; `ordered` by class first and cut then, as a bad one is."""
    held = images(seed, train)
    if not ordered:
        return held
    x, y = (torch.cat(pair) for pair in zip(held[:2], held.validation, strict=True))
    rows = y.sort(stable=True).indices
    (x, rest), (y, ends) = (v[rows].split([train, len(rows) - train]) for v in (x, y))
    return held._replace(x=x, y=y, validation=(rest, ends))


def division(held: Images) -> list[str]:
    """What the doctor says of the division before any training, by the classes of both sets."""
    train, other = (torch.bincount(y, minlength=10) for y in (held.y, held.validation[1]))
    signals = Signals()
    signals.add("validation", "class_p", 0, shares_differ(train, other))
    return [f["id"] for f in audited.findings(signals)[0]]


def program(held: Images, seed: int, doctor: Doctor, steps: int, *, rate: float = 0.05, decay: float = 0.0, noise: float = 0.0) -> None:  # fmt: skip
    """A plain training loop with a validation pass at times, as a person would write it."""
    model = start(mlp(held.x[0].numel(), 64, 2), seed)
    optimizer = torch.optim.SGD(model.parameters(), rate, 0.9, weight_decay=decay)
    generator = torch.Generator().manual_seed(seed)
    y = held.y.where(
        torch.rand(len(held.y), generator=generator) >= noise,
        torch.randint(10, held.y.shape, generator=generator),
    )
    criterion = nn.CrossEntropyLoss()
    with doctor:
        for step, rows in enumerate(batches(len(held.x), 40, steps, seed)):
            optimizer.zero_grad()
            loss = criterion(model(held.x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            if step % 20 == 19:
                model.eval()
                with torch.no_grad():
                    criterion(model(held.validation[0]), held.validation[1])
                model.train()


@experiments.member
class Symptoms(Experiment):
    topic = "procedure"
    claim = "Each row of the lecture's table of symptoms, produced on purpose, is read by the doctor, and a healthy training is left in peace."
    source = "the lecture's table; visus.Doctor"
    seeds = 3
    quick = Settings(steps=240)
    full = Settings(steps=2000)
    tiny = Settings(steps=4)
    rooms = ("layers", "kernels", "doctor", "data/audit")
    inches = (9.5, 3.4)

    def measure(self, seed, *, steps):
        found = {}
        for case, (change, _) in CASES.items():
            doctor, change = Doctor(share=1.0), {"train": 800, "ordered": False, **change}
            held = divided(seed, change.pop("train"), change.pop("ordered"))
            program(held, seed, doctor, steps, **change)
            said = [f["id"] for f in doctor.findings if f["severity"] != "info"]
            found[case] = division(held) + said
        return {"data": images(seed).source, "found": found}

    def checks(self, runs):
        return [Check(f"{case}: share read rightly", [self._right(r, case) for r in runs], ">", 0.99, percent=True) for case in CASES]  # fmt: skip

    def _right(self, run, case) -> float:
        ids, named = run["found"][case], CASES[case][1]
        return float(any(i in named for i in ids) if named else not ids)

    def draw(self, figure, runs):
        axes = figure.subplots()
        ids = sorted({i for r in runs for c in CASES for i in r["found"][c]}) or ["none"]
        share = np.array(
            [[np.mean([i in r["found"][c] for r in runs]) for i in ids] for c in CASES]
        )
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1.3, aspect="auto")
        for row, case in enumerate(CASES):
            for column, name in enumerate(ids):
                if share[row, column]:
                    weight = "bold" if name in CASES[case][1] else "normal"
                    axes.text(
                        column,
                        row,
                        f"{share[row, column]:.0%}",
                        ha="center",
                        va="center",
                        weight=weight,
                        color="white" if share[row, column] > 0.6 else "black",
                    )
        axes.set_xticks(range(len(ids)), [i.replace("-", "-\n", 2) for i in ids], fontsize=6.6)
        axes.set_yticks(range(len(CASES)), CASES)
        axes.set(
            title="What was produced (rows) and what the doctor said; bold: the name of the disease"
        )
        axes.grid(False)
