"""The rules of the house as functions over a source tree: floors, sizes, no torch below floor 2."""

from __future__ import annotations

import ast
from pathlib import Path

FLOORS = [
    {"errors"},
    {"family", "ledger", "files", "runs"},
    {"kernels"},
    {"layers"},
    {"models", "data"},
    {"training", "doctor", "report"},
    {"api"},
    {"lab"},
    {"cli"},
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
GROUND = FLOORS[1]  # these are one floor that may know each other: ledger and runs write files
FILE_LINES, FUNCTION_LINES = 400, 60


def imported(path: Path) -> set[str]:
    """The dotted names of all modules that the file imports, wherever it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            if node.module == "visus":
                found |= {f"visus.{alias.name}" for alias in node.names}
    return found


def room_of(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "visus" else None


def wrong_imports(root: Path) -> list[str]:
    """Every import that goes up a floor, or to another room of the same floor."""
    found = []
    for path in sorted(root.rglob("*.py")):
        room = path.relative_to(root).parts[0].removesuffix(".py")
        for name in sorted(imported(path)):
            if (other := room_of(name)) and not allowed(room, other):
                found.append(f"{path.relative_to(root.parent)} imports {name}")
    return found


def allowed(room: str, other: str) -> bool:
    if room == other or room in ("__init__", "__main__") or other not in LEVEL | {"reference": 0}:
        return True
    if room == "reference":
        return other == "errors"
    if other == "reference":
        return room == "lab"
    same = LEVEL[room] == LEVEL[other]
    return room in GROUND and other in GROUND if same else LEVEL[other] < LEVEL[room]


def torch_below(root: Path) -> list[str]:
    """Files of floors 0 and 1, the report and the reference that import torch."""
    rooms = [*FLOORS[0], *FLOORS[1], "report", "reference", "cli"]
    paths = [p for p in sorted(root.rglob("*.py")) if _room(p, root) in rooms]
    return [str(p) for p in paths if any(n.split(".")[0] == "torch" for n in imported(p))]


def _room(path: Path, root: Path) -> str:
    return path.relative_to(root).parts[0].removesuffix(".py")


def oversized(root: Path) -> list[str]:
    """Files over 400 lines and functions over 60 that give no reason in their first comment."""
    found = []
    for path in sorted(root.rglob("*.py")):
        text = path.read_text()
        lines = text.splitlines()
        if len(lines) > FILE_LINES and not any(line.startswith("# Long:") for line in lines[:20]):
            found.append(f"{path}: {len(lines)} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                head = lines[node.lineno - 1 : node.lineno + 12]
                if length > FUNCTION_LINES and not any("# Long:" in line for line in head):
                    found.append(f"{path}:{node.lineno} {node.name}: {length} lines")
    return found
