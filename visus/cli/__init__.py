"""The command line: parses, calls, prints. No logic, and no torch until a command runs.

One file a command (or two that belong together); the order of these imports is that of the help.
"""

from visus.cli import train, tune, watch, inspect, evaluate, predict, export, report, bench, lab  # noqa: I001
from visus.cli.entry import main

__all__ = [
    "bench",
    "evaluate",
    "export",
    "inspect",
    "lab",
    "main",
    "predict",
    "report",
    "train",
    "tune",
    "watch",
]
