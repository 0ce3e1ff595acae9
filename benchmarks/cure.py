"""How many broken recipes does `visus train` cure, what does it cost, and does it do harm?

    python benchmarks/cure.py --minutes 7        # goes on where it stopped; repeat until "complete"
    python benchmarks/cure.py --table            # what is known so far
    python benchmarks/cure.py --draw 1 --first 3 --seeds 1 --out FILE    # other strengths, other seeds

Sixty recipes, broken in ways that a seed draws (`cure_faults.py`), on digits, a subset of CIFAR-10
and synthetic gratings, with three seeds. Four arms: the healthy recipe; the broken one, which
simply continues (--no-cure); the cure; random remedies of the same family at the same budget, each
proved by the same trials. An error is that of the best epoch on validation; time is CPU time of
one thread, and work the operations of convolutions and linear layers, backward counted as twice
forward, which no neighbour on the machine changes. A remedy may cost more itself: a network with
norms, or a larger one. So beside the time of the same recipe untreated stands that of a plain run
of the recipe that the cured run *ended* with: the untreated run's, its epochs replaced by the last
attempt's (one a number, without what was watched, tried or raced between). A recipe counts as harmed where it is more than a point worse than the healthy one;
cured, where that is at most a point again (means over the seeds); curable, where a cure that knows
everything (the wrong labels by name, say) would cure it; made worse, where it is more
than a point worse than if it had continued.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import nan
from pathlib import Path
from statistics import fmean, median
from typing import Any
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from cure_faults import BASE, EPOCHS, OWN, Case, arrays, cases

POINT = 0.01
ARMS = ("healthy", "continue", "cure", "random")
DEFAULT = Path(tempfile.gettempdir()) / "visus-cure.jsonl"


def jobs(count: int, seeds: range, draw: int = 0) -> list[tuple[str, Case | str, int]]:
    """(arm, case or data set, seed), a seed after the other; what is compared with at the end."""
    made: list[tuple[str, Case | str, int]] = []
    for seed in seeds:
        for data in EPOCHS:
            made += [("healthy", data, seed), ("untouched", data, seed)]
        for case in cases(count, draw):
            made += [(arm, case, seed) for arm in ARMS[1:3]]
            made += [("oracle", case, seed)] if case.harm else []
    made += [("random", case, seed) for seed in seeds for case in cases(count, draw)]
    return made


def key(arm: str, what: Case | str, seed: int) -> str:
    """A job's name in the file of results."""
    return f"{arm}/{what if isinstance(what, str) else what.name}/{seed}"


def carry_out(arm: str, what: Case | str, seed: int, images: Path) -> dict[str, Any]:
    """Train once; the errors, the CPU seconds, and the trials."""
    from visus import api, errors, ledger

    case = what if isinstance(what, Case) else Case(what, what, ())
    folder = Path(tempfile.mkdtemp(prefix="visus-cure-"))
    held = arrays(case.data, images)
    known = case.harm(held, np.random.default_rng(seed)) if case.harm else []
    np.savez(folder / f"{case.data}.npz", **held)
    edits = [*BASE, f"seed={seed}", f"training.epochs={EPOCHS[case.data]}"]
    if any(edit.startswith("model=") for edit in case.edits):
        edits = [edit for edit in edits if not edit.startswith("model")]
    edits += [*OWN.get(case.data, ()), *case.edits, *(known if arm == "oracle" else ())]
    began, clock, status = time.process_time(), time.monotonic(), "done"
    try:
        with (
            by_chance(f"{case.name} {seed}") if arm == "random" else patch.dict({}, {}),
            counted() as work,
        ):
            api.train(folder / f"{case.data}.npz", out=folder / "run", set=edits,
                      cure=arm in ("cure", "random", "untouched"))  # fmt: skip
    except errors.VisusError as error:
        status = str(error)
    spent, wall = time.process_time() - began, time.monotonic() - clock
    lines = ledger.read(folder / "run")
    if (ledger.last(lines, "end") or {}).get("status") == "stopped":
        raise SystemExit("stopped: what was running is not in the results")
    best = [x["validation_error"] for x in ledger.history(lines) if x["kind"] == "epoch"]
    trials = [x for x in lines if x["kind"] == "trial"]
    epochs = {x["epoch"]: x["seconds"] for x in lines if x["kind"] == "epoch"}  # the last attempt's
    shutil.rmtree(folder)
    return {
        "key": key(arm, what, seed), "arm": arm, "case": case.name, "data": case.data, "seed": seed,
        "edits": list(case.edits), "error": min(best, default=1.0), "seconds": round(spent, 3), "status": status,
        "kept": [t["edits"] for t in trials if t["kept"]], "tried": len(trials),
        "lead": [t["findings"] for t in trials if t["kept"]], "work": work[0],
        "epochs": round(sum(epochs.values()) * spent / wall, 3),
    }  # fmt: skip


@contextmanager
def counted() -> Iterator[list[float]]:
    """Operations of the layers that multiply, of all that runs inside."""
    from torch import is_grad_enabled, nn
    from torch.nn.modules.module import register_module_forward_hook

    work = [0.0]

    def note(layer: Any, given: Any, out: Any) -> None:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            each = 2 * out.numel() * layer.weight[0].numel()
            work[0] += each * (3 if is_grad_enabled() else 1)

    handle = register_module_forward_hook(note)
    try:
        yield work
    finally:
        handle.remove()


def warm_up(images: Path) -> None:
    """What a process does once, seconds of imports, is no part of its first run."""
    import torch._dynamo  # torch's optimizers import it at their first step

    from visus import api

    torch.ones(64, 64) @ torch.ones(64, 64), api, arrays("digits", images)


@contextmanager
def by_chance(lot: str) -> Iterator[None]:
    """Remedies drawn from the whole family, whatever was found, in place of those that fit.

    `lot` draws them, another for each run: with one draw for all recipes of a seed, the place at
    which a fitting remedy stands in the family's order would decide for all of them.
    """
    from visus.api import procedure_race as racing
    from visus.api import procedure_treat as treating
    from visus.doctor.remedies import prescribe

    draw = random.Random(lot)

    def drawn(chart: Any, *, least: float = 0.5, live: bool = False) -> list[Any]:
        found = prescribe(chart, least=-1.0, live=live)
        draw.shuffle(found)
        return [] if live else found[: treating.MOST]

    alone = {"together": lambda found: None}
    with patch.multiple(treating, prescribe=drawn, **alone), patch.multiple(racing, **alone):
        yield


def table(rows: dict[str, dict[str, Any]], count: int, draw: int = 0) -> str:
    """The results as text."""
    words = ("cured", "improved", "worse", "wrong cures kept")
    sums = {arm: {word: [0, 0] for word in words} for arm in ARMS[2:]}
    made, harmed, ratios = [], 0, {arm: [] for arm in ARMS[2:]}
    beside: dict[str, dict[str, list[float]]] = {
        arm: {"time": [], "work": [], "ended": []} for arm in ARMS[2:]
    }
    for case in cases(count, draw):
        found = {arm: _seeds(rows, arm, case.name) for arm in ARMS[1:]}
        healthy = _seeds(rows, "healthy", case.data)
        seeds = sorted(set(found["continue"]) & set(found["cure"]) & set(healthy))
        if not seeds:
            continue
        e = {arm: fmean(f[s]["error"] for s in seeds if s in f) if set(f) & set(seeds) else nan for arm, f in found.items()}  # fmt: skip
        good = fmean(healthy[s]["error"] for s in seeds)
        sick = e["continue"] > good + POINT
        oracle = [r["error"] for s, r in _seeds(rows, "oracle", case.name).items() if s in seeds]
        known = sick and (not case.harm or (bool(oracle) and fmean(oracle) <= good + POINT))
        harmed += sick
        for arm, counts in sums.items():
            own = [s for s in seeds if s in found[arm]]
            if not own:
                continue
            _add(counts["cured"], known, e[arm] <= good + POINT)
            _add(counts["improved"], sick, e[arm] < e["continue"] - POINT)
            _add(counts["worse"], True, e[arm] > e["continue"] + POINT)
            for s in own:
                gap = found[arm][s]["error"] - found["continue"][s]["error"]
                _add(counts["wrong cures kept"], bool(found[arm][s]["kept"]), gap > POINT)
            for name, field in (("time", "seconds"), ("work", "work")):
                both = [(found[arm][s], found["continue"][s]) for s in own]
                beside[arm][name] += [
                    a[field] / b[field] for a, b in both if a.get(field) and b.get(field)
                ]
            beside[arm]["ended"] += [
                x for s in own if (x := _ended(found[arm][s], found["continue"][s]))
            ]
            ratios[arm] += [
                found[arm][s]["seconds"] / healthy[s]["seconds"] for s in seeds if s in found[arm]
            ]
        kept = "; ".join(", ".join(k) for s in seeds[:1] for k in found["cure"][s]["kept"])
        made.append(
            f"{case.name:28} {case.data:9} {good:7.1%} {e['continue']:7.1%} {e['cure']:7.1%} "
            f"{e['random']:7.1%}  {'' if sick else '(harmless) '}{'' if known or not sick else f'(oracle {fmean(oracle or [1.0]):.1%}) '}{kept[:80]}"
        )
    head = f"{'case':28} {'data':9} healthy  contin    cure  random  kept (first seed)"
    said = [
        head,
        *made,
        "",
        f"{len(made)} recipes, of which {harmed} were harmed (more than a point worse)",
    ]
    for arm, counts in sums.items():
        if ratios[arm]:
            shares = ", ".join(f"{k} {_share(*v)}" for k, v in counts.items())
            said.append(f"{arm:9} {shares}; time x{median(ratios[arm]):.2f} (median), x{fmean(ratios[arm]):.2f} (mean) of the healthy plain run")  # fmt: skip
            said.append(_told(beside[arm]))
    return "\n".join([*said, *_untouched(rows)])


def _told(beside: dict[str, list[float]]) -> str:
    """The median time and work beside the recipe untreated, and beside the one it ended with."""
    told = {k: f"x{median(v):.2f}" for k, v in beside.items() if v}
    ended = told.pop("ended", "")
    line = ", ".join(f"{k} {v}" for k, v in told.items())
    said = f"          beside the same recipe untreated (median): {line}"
    return said + (
        f"; beside a plain run of the recipe it ended with: time {ended}" if ended else ""
    )


def _ended(treated: dict[str, Any], plain: dict[str, Any]) -> float | None:
    """CPU time beside that of a plain run of the recipe that the treated run ended with."""
    if not treated.get("epochs"):
        return None
    return treated["seconds"] / (plain["seconds"] - plain.get("epochs", 0.0) + treated["epochs"])


def _add(tally: list[int], counts: bool, is_so: bool) -> None:
    """One more of `tally[1]` that count, and of `tally[0]` of which it is so."""
    tally[0] += counts and is_so
    tally[1] += counts


def _share(count: int, of: int) -> str:
    """A share with its Wilson 95 % interval."""
    from visus.training.evaluate import wilson

    low, high = wilson(count, max(1, of))
    return f"{count} of {of} ({count / max(1, of):.1%}, {low:.1%} to {high:.1%})"


def _seeds(rows: dict[str, dict[str, Any]], arm: str, case: str) -> dict[int, dict[str, Any]]:
    return {r["seed"]: r for r in rows.values() if r["arm"] == arm and r["case"] == case}


def _untouched(rows: dict[str, dict[str, Any]]) -> list[str]:
    """The healthy recipe with the cure on: is it left alone, and what does that cost?"""
    pairs = [(r, rows.get(r["key"].replace("untouched/", "healthy/"))) for r in rows.values() if r["arm"] == "untouched"]  # fmt: skip
    pairs = [(a, b) for a, b in pairs if b]
    if not pairs:
        return []
    ratio = [a["seconds"] / b["seconds"] for a, b in pairs]
    kept = sum(len(a["kept"]) for a, _ in pairs)
    same = sum(a["error"] == b["error"] for a, b in pairs)
    return [f"healthy   {len(pairs)} runs with the cure on: {kept} remedies kept, {same} with the very same error, time x{median(ratio):.3f}"]  # fmt: skip


def main() -> None:
    """Run what is missing for so many minutes, then print the table."""
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument(
        "--out", type=Path, default=DEFAULT, help="file of results, one JSON line a run"
    )
    words.add_argument("--minutes", type=float, default=60.0)
    words.add_argument("--cases", type=int, default=60)
    words.add_argument("--seeds", type=int, default=3)
    words.add_argument("--first", type=int, default=0, help="the first of the seeds")
    words.add_argument("--draw", type=int, default=0, help="what draws faults and strengths")
    words.add_argument("--only", default="", help="only jobs whose name holds this")
    words.add_argument("--images", type=Path, default=Path(os.environ.get("VISUS_CIFAR", "/work/data/cifar10")),
                       help="CIFAR-10 as folders train/CLASS/*.jpg")  # fmt: skip
    words.add_argument("--table", action="store_true", help="only print what is known")
    given = words.parse_args()
    rows = {}
    if given.out.exists():
        rows = {r["key"]: r for r in map(json.loads, given.out.read_text().splitlines())}
    if not given.table:
        warm_up(given.images)
    until, missing = time.monotonic() + 60 * given.minutes, 0
    seeds = range(given.first, given.first + given.seeds)
    for job in jobs(given.cases, seeds, given.draw):
        if key(*job) in rows or given.only not in key(*job):
            continue
        if given.table or time.monotonic() > until:
            missing += 1
            continue
        row = carry_out(*job, given.images)
        rows[row["key"]] = row
        with given.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
    print(table(rows, given.cases, given.draw))
    print("complete" if not missing else f"{missing} runs are missing: start it again")


if __name__ == "__main__":
    main()
