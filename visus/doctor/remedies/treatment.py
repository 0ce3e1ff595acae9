"""What a remedy is: edits, why, and how strongly the chart speaks for it. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from visus.family import Family, kebab

remedies = Family("remedy", package="visus.doctor.remedies")


@dataclass(frozen=True)
class Treatment:
    """A remedy for one patient: `key=value` edits, why, its priority 0 to 1.

    `weight` is what speaks for it: the surest finding, or `prior`, what the chart alone says.
    `fresh`: it cannot change a training that is under way, which starts again from step 0.
    """

    edits: tuple[str, ...]
    why: str
    weight: float = 0.0
    name: str = ""
    title: str = ""
    fresh: bool = True
    findings: tuple[str, ...] = ()
    prior: float = 0.0

    @property
    def keys(self) -> set[str]:
        """The keys that the edits set."""
        return {edit.partition("=")[0] for edit in self.edits}

    def rivals(self, others: Sequence[Treatment], least: float = 0.5) -> list[Treatment]:
        """Those that the chart speaks for as well, and that set the same keys otherwise.

        That one helps says nothing of the other: each must have its fork.
        """
        mine = [t for t in others if t.keys == self.keys and t.edits != self.edits]
        return [t for t in mine if t.prior >= least]


@dataclass(frozen=True)
class Chart:
    """What is known of a patient: its settled recipe, facts about data and plan, its findings.

    `recipe` is the tree of the recipe; `usual` what the book takes for keys that depend on
    data and optimizer ("optimizer.rate", "training.batch_size", ...); `findings` confidence by
    id; `facts` numbers such as "train", "classes", "steps".
    """

    recipe: Mapping[str, Any]
    usual: Mapping[str, Any] = field(default_factory=dict)
    findings: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a dotted key, or `default`."""
        found: Any = self.recipe
        for part in key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return default if found is None else found

    def times(self, key: str) -> float:
        """How many times its usual value a number of the recipe is (1 where either is not known)."""
        value, usual = self.get(key), self.usual.get(key)
        known = isinstance(value, (int, float)) and isinstance(usual, (int, float))
        return value / usual if known and usual else 1.0


def remedy(*, cures: tuple[str, ...] = (), fresh: bool = True) -> Callable:
    """Register a function from a `Chart` to a `Treatment`, or None where it could change nothing.

    `cures` are the ids of the findings that call for it; the first line of its docstring is
    its title. Without such a finding its own `weight` says how suspicious the chart is.
    """

    def register(function: Callable[[Chart], Treatment | None]) -> Callable:
        function.cures, function.fresh = cures, fresh  # type: ignore[attr-defined]
        return remedies.member(function)

    return register


def prescribe(chart: Chart, *, least: float = 0.5, live: bool = False) -> list[Treatment]:
    """The treatments that findings or the chart itself speak for, the strongest first.

    `live` leaves out those that need a fresh start.
    """
    found = []
    for name, make in remedies.items():
        if live and make.fresh:  # type: ignore[attr-defined]
            continue
        if (treatment := make(chart)) is not None:
            found.append(_labelled(treatment, name, make, chart))
    kept = [t for t in found if t.weight >= least]
    # Of two with findings as sure, the one that the chart speaks for as well comes first.
    return sorted(kept, key=lambda t: -t.weight - 0.2 * t.prior)


def _labelled(t: Treatment, name: str, make: Any, chart: Chart) -> Treatment:
    called = tuple(i for i in make.cures if chart.findings.get(i, 0.0) > 0)
    weight = max([t.weight, *(chart.findings[i] for i in called)])
    title = (make.__doc__ or kebab(name)).strip().splitlines()[0].rstrip(".")
    return replace(
        t,
        name=name,
        title=title,
        fresh=make.fresh,
        findings=called,
        weight=round(weight, 3),
        prior=t.weight,
    )


def together(treatments: list[Treatment], least: float = 0.5) -> Treatment | None:
    """Those that the chart itself speaks for as one treatment; None for fewer than two.

    Of two that set one key the stronger counts. A recipe may be wrong in several places at
    once, and none of the remedies help alone.
    """
    edits: list[str] = []
    taken: set[str] = set()
    used: list[Treatment] = []
    for t in sorted(treatments, key=lambda t: -t.prior):
        if t.prior >= least and not any(_clash(a, b) for a in t.keys for b in taken):
            edits += t.edits
            taken |= t.keys
            used.append(t)
    if len(used) < 2:
        return None
    # A whole table first: what is set inside it afterwards must stay.
    edits.sort(key=lambda edit: "." in edit.partition("=")[0])
    names = " + ".join(t.name for t in used)
    findings = tuple(dict.fromkeys(i for t in used for i in t.findings))
    why, weight = "; ".join(t.why for t in used), max(t.weight for t in used)
    return Treatment(
        tuple(edits), why, weight, names, "Several remedies together", any(t.fresh for t in used), findings, weight
    )  # fmt: skip


def _clash(a: str, b: str) -> bool:
    """Whether two keys are one, or one is the table of the other."""
    return a == b or a.startswith(f"{b}.") or b.startswith(f"{a}.")
