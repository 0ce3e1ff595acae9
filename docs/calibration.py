"""Draws docs/calibration.svg: does a confidence of 90 % come true nine times in ten?

    python benchmarks/ward.py --n 400 --half observed --json ward.json
    python docs/calibration.py ward.json [MORE.json ...]

A file holds one row a program: its `number` (even: rules may be tuned on it; odd: it is only
observed), `fault` (null for a healthy one) and `told`: (id, confidence, right) of each warning
or error that is no consequence of another. Right is a finding that names the planted fault.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

EDGES = (0.5, 0.6, 0.7, 0.8, 0.875, 0.925, 0.965, 1.001)
INK, SOFT, HUE, GRID = "#1b1f24", "#59626d", "#0a66b0", "#e4e2db"


@dataclass(frozen=True)
class Bin:
    """Findings of about one confidence: how many, the mean of what was said, what came true."""

    n: int
    said: float
    right: int

    @property
    def share(self) -> float:
        return self.right / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson 95 %."""
        z, n, p = 1.96, self.n, self.share
        middle, reach = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (middle - reach) / (1 + z * z / n), (middle + reach) / (1 + z * z / n)


def answers(rows: list[dict]) -> list[tuple[float, bool]]:
    """(confidence, right) of each cause that was named."""
    return [(sure, bool(right)) for row in rows for _, sure, right in row["told"]]


def bins(told: list[tuple[float, bool]]) -> list[Bin]:
    """The answers by confidence, empty bins left out."""
    made = []
    for low, high in itertools.pairwise(EDGES):
        inside = [(sure, right) for sure, right in told if low <= sure < high]
        if inside:
            said = sum(sure for sure, _ in inside) / len(inside)
            made.append(Bin(len(inside), said, sum(right for _, right in inside)))
    return made


def error(made: list[Bin]) -> float:
    """Expected calibration error: the mean distance between said and true, by findings."""
    return sum(b.n * abs(b.said - b.share) for b in made) / max(sum(b.n for b in made), 1)


def draw(rows: list[dict], path: Path) -> dict[str, float]:
    """Write the picture; returns what it says in numbers."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"font.size": 11, "svg.fonttype": "none", "svg.hashsalt": "visus",
                         "font.family": "sans-serif", "text.color": INK, "axes.labelcolor": INK})  # fmt: skip
    from matplotlib import pyplot

    told, healthy = answers(rows), sum(not row["fault"] for row in rows)
    observed = sum(row["number"] % 2 for row in rows)
    half = "observed only" if observed == len(rows) else f"{observed} of them observed only"
    made = bins(told)
    figure, (top, low) = pyplot.subplots(
        2, 1, figsize=(6.4, 6.6), height_ratios=(4, 1), sharex=True
    )
    _reliability(top, made)
    top.set_title(f"The doctor's confidence and how often it was right: {len(told)} causes named\nin {len(rows)} drawn programs "
                  f"({healthy} healthy), {half}", fontsize=11, loc="left")  # fmt: skip
    low.bar([b.said for b in made], [b.n for b in made], width=0.022, color=HUE)
    for b in made:
        low.annotate(
            f"{b.n}",
            (b.said, b.n),
            (0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=SOFT,
        )
    low.set(xlabel="confidence of the finding", ylabel="findings", xlim=(0.5, 1.02))
    low.set_ylim(0, 1.25 * max((b.n for b in made), default=1))
    low.xaxis.set_major_formatter("{x:.0%}")
    for axes in (top, low):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=SOFT)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
    pyplot.close(figure)
    return {"programs": len(rows), "answers": len(told), "calibration_error": error(made),
            "right": sum(right for _, right in told) / max(len(told), 1),
            "said": sum(sure for sure, _ in told) / max(len(told), 1)}  # fmt: skip


def _reliability(axes, made: list[Bin]) -> None:
    axes.plot([0.5, 1], [0.5, 1], color=SOFT, lw=1, ls=(0, (4, 3)), label="as sure as it is right")
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    x, y = [b.said for b in made], [b.share for b in made]
    reach = [[b.share - b.interval[0] for b in made], [b.interval[1] - b.share for b in made]]
    axes.errorbar(
        x,
        y,
        yerr=reach,
        fmt="o",
        ms=7,
        color=HUE,
        capsize=4,
        lw=1.6,
        label="measured, with 95 % interval",
    )
    axes.set(
        ylabel="share of them right", ylim=(min([0.4, *(b.interval[0] for b in made)]) - 0.02, 1.02)
    )
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.legend(frameon=False, loc="lower right", fontsize=10)


def main(words: list[str]) -> None:
    if not words or not all(Path(word).is_file() for word in words):
        raise SystemExit(
            "usage: python docs/calibration.py WARD.json ... (benchmarks/ward.py --json writes it)"
        )
    rows = {row["number"]: row for word in words for row in json.loads(Path(word).read_text())}
    rows = [rows[number] for number in sorted(rows)]
    said = draw(rows, Path(__file__).with_name("calibration.svg"))
    print("  ".join(f"{name} {value:.4g}" for name, value in said.items()))


if __name__ == "__main__":
    main(sys.argv[1:])
