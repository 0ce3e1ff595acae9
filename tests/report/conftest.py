"""`ledgers`: the module of fabricated ledgers (tests have no packages to import it from)."""

# pyright: reportArgumentType=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def load(name: str) -> ModuleType:
    known = f"report_tests_{name}"
    if known not in sys.modules:
        spec = importlib.util.spec_from_file_location(known, Path(__file__).with_name(f"{name}.py"))
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[known] = module
        spec.loader.exec_module(module)
    return sys.modules[known]


LEDGERS, SEARCHES, WATCHED = load("ledgers"), load("searches"), load("watched")
LEDGERS.CASES.update(WATCHED.CASES)
LEDGERS.KINDS.extend(WATCHED.KINDS)  # a scrambled ledger holds these too
CASES = LEDGERS.CASES | SEARCHES.CASES


@pytest.fixture(scope="session")
def ledgers() -> ModuleType:
    return LEDGERS


@pytest.fixture(scope="session")
def searches() -> ModuleType:
    return SEARCHES


@pytest.fixture(scope="session")
def watched() -> ModuleType:
    return WATCHED


@pytest.fixture(scope="session")
def driver() -> ModuleType:
    return load("browser")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", list(CASES))


@pytest.fixture
def lines(case: str) -> list:
    return CASES[case]()
