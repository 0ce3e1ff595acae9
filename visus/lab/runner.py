"""Runs experiments: numbers, figure and verdict into a folder; what is finished is reused."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path
from typing import Any

from visus import files
from visus.errors import RunError, UsageError, VisusError
from visus.lab import TOPICS, experiments
from visus.lab.experiment import Experiment, verdict
from visus.lab.style import matplotlib

HERE = Path(__file__).parent
SHARED = ("experiment.py", "bench.py", "style.py", "runner.py")
SIZES = ("quick", "full", "tiny")


def names(wanted: Sequence[str]) -> list[str]:
    """The experiments called `wanted`, in the order of the lecture; "all" is every one."""
    for name in wanted:
        if name != "all":
            experiments[name]  # an unknown name is refused with the nearest
    chosen = set(experiments) if "all" in wanted else set(wanted)
    return sorted(chosen, key=lambda n: (TOPICS.index(experiments[n].topic), n))  # type: ignore[attr-defined]


def size(asked: str | None) -> str:
    """The size asked for; None: the full one where there is a GPU, else the quick one."""
    if asked is not None:
        return asked
    import torch

    return "full" if torch.cuda.is_available() else "quick"


def fingerprint(experiment: Experiment, settings: dict[str, Any], seeds: int) -> str:
    """sha256 of the code that made the numbers, of its settings and of torch's version."""
    own = Path(inspect.getfile(type(experiment)))
    rooms = [p for room in experiment.rooms for p in (HERE.parent / room).rglob("*.py")]
    digest = hashlib.sha256(json.dumps([settings, seeds], sort_keys=True).encode())
    digest.update(f"{sorted(_archives())} torch {version('torch')}".encode())
    for path in [own, *(HERE / name for name in SHARED), *sorted(rooms)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _archives() -> list[str]:
    folder = os.environ.get("VISUS_DATA", "")
    return [p.name for p in Path(folder).glob("*.tar.xz")] if folder else []


def finished(folder: Path, name: str, mark: str) -> dict[str, Any] | None:
    """The record of an experiment whose code and settings have not changed, or None."""
    try:
        held = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        there = all((folder / f"{name}.{kind}").is_file() for kind in ("svg", "png"))
        return held if there and held["fingerprint"] == mark else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def run(name: str, folder: Path, *, size: str = "quick", seeds: int | None = None, again: bool = False) -> dict[str, Any]:  # fmt: skip
    """Run one experiment, or read it where it is finished; returns its record."""
    mark = marked(name, size, seeds)
    held = None if again else kept(name, folder, mark)
    if held is not None:
        return held
    return keep(name, folder, size, mark, [measured(name, s, size) for s in _seeds(name, seeds)])


def _seeds(name: str, seeds: int | None) -> range:
    return range(seeds or experiments[name].seeds)  # type: ignore[attr-defined]


def marked(name: str, size: str, seeds: int | None = None) -> str:
    """The fingerprint of an experiment as it would be measured now."""
    experiment: Experiment = experiments[name]()
    return fingerprint(experiment, experiment.settings(size), len(_seeds(name, seeds)))


def kept(name: str, folder: Path, mark: str) -> dict[str, Any] | None:
    """The record of an experiment that is finished with this code and these settings, or None."""
    held = finished(folder, name, mark)
    return held and {**held, "reused": True}


def measured(name: str, seed: int, size: str) -> tuple[dict[str, Any], float]:
    """What one seed gives, and the seconds it took."""
    experiment, began = experiments[name](), time.perf_counter()
    found = clean(experiment.measure(seed, **experiment.settings(size)))
    return found, time.perf_counter() - began


def keep(name: str, folder: Path, size: str, mark: str, seen: Sequence[tuple[dict[str, Any], float]]) -> dict[str, Any]:  # fmt: skip
    """Judge, draw and write what all seeds gave; returns the record. `mark`: from before."""
    experiment, runs = experiments[name](), [found for found, _ in seen]
    record = report(name, experiment, runs)
    record |= {"size": size, "settings": experiment.settings(size), "seeds": len(runs)}
    record["fingerprint"] = mark
    record["seconds"] = round(sum(seconds for _, seconds in seen), 1)
    draw(experiment, runs, folder / name)
    files.replace_json(folder / f"{name}.json", {**record, "runs": runs})
    return {**record, "reused": False}


def report(name: str, experiment: Experiment, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Claim, verdict and the checks behind it."""
    checks = experiment.checks(runs)
    return {
        "name": name, "topic": experiment.topic, "claim": experiment.claim,
        "source": experiment.source, "data": sorted({r["data"] for r in runs if "data" in r}),
        "verdict": verdict(checks), "checks": [check.record() for check in checks],
    }  # fmt: skip


def clean(value: Any) -> Any:
    """Plain lists, floats and strings; what is not finite becomes None, as JSON wants it."""
    if isinstance(value, dict):
        return {str(k): clean(v) for k, v in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [clean(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else math.copysign(1e30, value)
    return value


def draw(experiment: Experiment, runs: list[dict[str, Any]], stem: Path) -> None:
    """The figure as SVG (without date) and PNG."""
    from visus.lab.style import new_figure, styled

    with styled():
        figure = new_figure(experiment.inches)
        experiment.draw(figure, runs)
        for kind, options in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 130})):
            files.replace(
                stem.with_suffix(f".{kind}"),
                lambda path, kind=kind, options=options: figure.savefig(
                    path, format=kind, **options
                ),
            )


# ---- several ------------------------------------------------------------------------------


def _main() -> bool:
    return threading.current_thread() is threading.main_thread()


def _single() -> None:
    import torch

    torch.set_num_threads(1)


def _guarded(name: str, work: Callable[..., Any], *args: Any) -> Any:
    """The result, or a record of what went wrong: one broken experiment takes no other along."""
    try:
        return work(name, *args)
    except VisusError:
        raise
    except Exception as error:
        topic = experiments[name].topic  # type: ignore[attr-defined]
        return {"name": name, "topic": topic, "failed": f"{type(error).__name__}: {error}"}


def run_all(
    chosen: Sequence[str], folder: Path, *, processes: int = 2, on: Callable[[dict], Any] | None = None, **options: Any,
) -> list[dict[str, Any]]:  # fmt: skip
    """Run experiments, their seeds beside each other; `on(record)` as each is done."""
    if options.get("size", "quick") not in SIZES:
        raise UsageError(f"lab: size is '{options['size']}'; give one of {', '.join(SIZES)}")
    files.make_folder(folder, "lab", "give another --out")
    matplotlib()  # where it is missing, that is said before minutes of measuring
    records: dict[str, dict[str, Any]] = {}
    try:
        for record in _results(chosen, folder, processes, **options):
            records[record["name"]] = record
            if on is not None:
                on(record)
    except KeyboardInterrupt:
        done = f"{len(records)} of {len(chosen)} experiments are done and kept in {folder}"
        raise RunError(
            f"lab: interrupted; {done}, the same command goes on with the rest"
        ) from None
    return [records[name] for name in chosen]


def _results(chosen: Sequence[str], folder: Path, processes: int, *, size: str = "quick", seeds: int | None = None, again: bool = False) -> Iterator[dict[str, Any]]:  # fmt: skip
    marks = {name: marked(name, size, seeds) for name in chosen}
    held = {} if again else {n: found for n, m in marks.items() if (found := kept(n, folder, m))}
    yield from held.values()
    to_do = [(name, seed) for name in chosen if name not in held for seed in _seeds(name, seeds)]
    seen: dict[str, dict[int, Any]] = {name: {} for name, _ in to_do}
    for (name, seed), found in _measure(to_do, size, min(processes, len(to_do))):
        seen[name][seed] = found
        if len(seen[name]) == len(_seeds(name, seeds)):
            runs = [seen[name][s] for s in _seeds(name, seeds)]
            failed = [run for run in runs if isinstance(run, dict)]
            yield failed[0] if failed else _guarded(name, keep, folder, size, marks[name], runs)


def _measure(to_do: list[tuple[str, int]], size: str, processes: int) -> Iterator[tuple[tuple[str, int], Any]]:  # fmt: skip
    """Each (name, seed) and what it gave, as it is done.

    Seeds run beside each other, not experiments: the longest alone takes as long as many others.
    """
    if processes <= 1:
        _single()
        yield from ((task, _guarded(task[0], measured, task[1], size)) for task in to_do)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_single)
    # What is ignored here is ignored in the children from their first line: Ctrl-C is ours alone.
    was = signal.signal(signal.SIGINT, signal.SIG_IGN) if _main() else None
    try:
        waiting = {pool.submit(_guarded, n, measured, s, size): (n, s) for n, s in to_do}
        if was is not None:
            signal.signal(signal.SIGINT, was)
        for future in as_completed(waiting):
            yield waiting[future], future.result()
        pool.shutdown()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
