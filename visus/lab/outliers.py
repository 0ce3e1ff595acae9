"""A line through points with outliers, fitted by L2, L1 and smooth L1; their landscapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from visus.lab import experiments
from visus.lab.experiment import Check, Experiment, Settings
from visus.lab.style import COLORS, GREY, band
from visus.layers import losses

NAMES, SHARES = ("l2", "l1", "smooth-l1"), (0.0, 0.05, 0.1, 0.2, 0.3, 0.4)
LINES = {"l2": "-", "l1": "-", "smooth-l1": "--"}  # L1 and smooth L1 lie on each other


@experiments.member
class Outliers(Experiment):
    topic = "losses"
    claim = "Outliers bend an L2 fit; L1 and smooth L1 hardly move."
    source = "Huber 1964; Girshick 2015, eq. 3"
    seeds = 10
    quick = Settings(points=100, steps=400)
    full = Settings(points=1000, steps=3000)
    tiny = Settings(points=30, steps=30)
    inches = (9.8, 3.2)

    def measure(self, seed, *, points, steps):
        rng = np.random.default_rng(seed)
        x, noise, lots = (
            rng.uniform(0, 1, points),
            rng.normal(0, 0.1, points),
            rng.uniform(0, 1, points),
        )
        found: dict[str, Any] = {"x": x, "off": {n: [] for n in NAMES}, "line": {}}
        for share in SHARES:
            y = 1.0 + 2.0 * x + noise - 6.0 * (lots < share) * x
            for name in NAMES:
                a, b = self._fit(name, x, y, steps)
                found["off"][name].append(abs(b - 2.0))
                if share == 0.2:
                    found["line"][name], found["y"] = (a, b), y
        return found

    def _fit(self, name, x, y, steps):
        x, y = torch.tensor(x), torch.tensor(y)
        w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        loss = losses.make(name, **({"beta": 0.2} if name == "smooth-l1" else {}))
        optimizer = torch.optim.Adam([w], 0.1)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / steps)
            optimizer.zero_grad()
            loss(w[0] + w[1] * x, y).backward()
            optimizer.step()
        return w.tolist()

    def checks(self, runs):
        at = SHARES.index(0.2)
        off = {n: [r["off"][n][at] for r in runs] for n in NAMES}
        return [
            Check(f"slope error at 20 % outliers, {n} / L2", np.divide(off[n], off["l2"]).tolist(), "<", 0.3, ratio=True)
            for n in ("l1", "smooth-l1")
        ]  # fmt: skip

    def draw(self, figure, runs):
        shape, fits, by = figure.subplots(1, 3)
        d, run = torch.linspace(-3, 3, 241, requires_grad=True), runs[0]
        line = np.array([0.0, 1.0])
        fits.plot(run["x"], run["y"], ".", color=GREY, ms=3)
        for name, color in zip(NAMES, COLORS, strict=False):
            value = losses.make(name, reduction="none")(d, torch.zeros_like(d))
            (slope,) = torch.autograd.grad(value.sum(), d)
            shape.plot(d.detach(), value.detach(), color=color, label=name)
            shape.plot(d.detach(), slope, color=color, ls=":", lw=1.2)
            a, b = run["line"][name]
            fits.plot(line, a + b * line, color=color, label=name, ls=LINES[name])
            band(
                by, SHARES, [r["off"][name] for r in runs], color=color, label=name, ls=LINES[name]
            )
        shape.set(
            title="Loss (line), gradient (dots)", xlabel="y - t", ylim=(-3, 5), ylabel="loss, dL/dy"
        )
        shape.legend()
        fits.set(title="20 % outliers", xlabel="x", ylabel="y")
        by.set(title="Error of the slope", xlabel="share of outliers", ylabel="|slope - 2|")
