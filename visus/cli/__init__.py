"""The command line: parses, calls, prints. No logic, and no torch until a command runs.

One file a command (or two that belong together); the order of these imports is that of the help.
"""

from visus.cli import interrupt

interrupt.hold()
from visus.cli import train, tune, watch, inspect, evaluate, predict, export, report, bench, lab  # noqa: I001, E402
from visus.cli.entry import main  # noqa: E402

interrupt.release()

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
