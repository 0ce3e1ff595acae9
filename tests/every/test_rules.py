"""Every rule finds its sick program first, and is silent on the healthy and the cured one."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path

import pytest

from visus.doctor import Doctor
from visus.doctor.diagnose import asked, diagnose
from visus.doctor.probes import probes
from visus.doctor.rules import finding, rule, rules
from visus.doctor.signals import Signals

WARD = Path(__file__).parents[1] / "sick"
sys.path.insert(0, str(WARD))
SECTIONS = ("What:", "Why:", "How:", "Cure:", "Not:", "Source:")


def programs(name):
    """The module of sick, healthy and cured programs of one finding id."""
    spec = importlib.util.spec_from_file_location(
        f"sick_{name.replace('-', '_')}", WARD / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def grave(program):
    """The ids of all errors and warnings about a program, causes first.

    A program that returns signals is an audit of data: the rules read these.
    """
    with Doctor() as doctor:
        signals = program()
    assert doctor.errors == []
    if isinstance(signals, Signals):
        findings, errors = diagnose(signals)
        assert errors == []
        return [f["id"] for f in findings if f["severity"] != "info"]
    return [f["id"] for f in doctor.findings if f["severity"] != "info"]


def check(name, module):
    """The contract of a rule: raises AssertionError where it does not hold."""
    assert grave(module.sick)[:1] == [name]
    for program in (module.healthy, module.cured):
        assert grave(program) == []


@pytest.mark.parametrize("name", rules)
def test_sick_is_named_and_healthy_is_left_alone(name):
    check(name, programs(name))


def test_the_contract_fails_on_a_rule_that_never_speaks(monkeypatch):
    held = rules["gradient-not-zeroed"]
    silent = lambda s: None  # noqa: E731
    silent.asks, silent.because, silent.unless = held.asks, held.because, held.unless
    monkeypatch.setitem(rules._members, "gradient-not-zeroed", silent)
    with pytest.raises(AssertionError):
        check("gradient-not-zeroed", programs("gradient-not-zeroed"))


def test_the_contract_fails_on_a_rule_that_always_speaks(monkeypatch):
    def loud(s):
        return finding("error", 1.0, "everywhere", 0, "Sick.", [])

    loud.asks, loud.because, loud.unless = (), (), ()
    monkeypatch.setitem(rules._members, "gradient-not-zeroed", loud)
    with pytest.raises(AssertionError):
        check("gradient-not-zeroed", programs("gradient-not-zeroed"))


@pytest.mark.parametrize("name", rules)
def test_every_rule_has_its_page_probes_and_causes(name):
    page = inspect.getdoc(rules[name])
    assert all(section in page for section in SECTIONS)
    assert set(rules[name].asks) <= set(probes)
    assert {*rules[name].because, *rules[name].unless} <= set(rules) - {name}


@pytest.mark.parametrize("name", rules)
def test_every_rule_is_silent_without_signals_and_knows_no_torch(name):
    assert rules[name](Signals()) is None
    source = Path(inspect.getfile(rules[name])).read_text()
    assert "import torch" not in source


def test_a_rule_that_fails_is_reported_and_stops_no_other(monkeypatch):
    def clumsy(s):
        raise ZeroDivisionError("oops")

    clumsy.asks, clumsy.because, clumsy.unless = (), (), ()
    monkeypatch.setitem(rules._members, "relu-dead", clumsy)
    findings, errors = diagnose(Signals())
    assert findings == [] and len(errors) == 1 and "relu-dead" in errors[0]


def test_only_the_probes_that_rules_ask_for_are_attached():
    assert asked(["training-slow-input"]) == {"timing"}
    with Doctor(rules=["training-slow-input"]) as doctor:
        pass
    assert [probe.name for probe in doctor.host.probes] == ["timing"]


def test_a_cause_comes_before_its_consequence():
    s = Signals()
    s.steps = 100
    assert rule is not None
    from visus.doctor.diagnose import _order

    found = {
        name: {"id": name, **finding(severity, 0.9, "x", 0, "Text.", [])}
        for name, severity in (
            ("relu-dead", "error"),
            ("underfitting", "warning"),
            ("learning-rate-too-large", "warning"),
        )
    }
    order = [f["id"] for f in _order(found)]
    assert order[0] == "learning-rate-too-large"
    assert "consequence of learning-rate-too-large" in found["relu-dead"]["explanation"]
