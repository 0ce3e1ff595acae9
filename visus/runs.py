"""Which folder a run lives in, and whether what is there may be gone on with. No torch here.

`request.json` holds what was asked (data and recipe before anything was chosen automatically):
the same request finds its unfinished run again and resumes it.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

from visus import ledger
from visus.errors import RunError, UsageError
from visus.files import make_folder, replace_json, sibling

REQUEST = "request.json"
ARRAYS = "arrays"  # the data of a run whose images came as Python objects
Request = dict[str, Any]


def open_run(
    out: str | Path | None, request: Request, *, suffix: str = "", again: bool = False
) -> Path:
    """The folder for `request`, made if need be and holding its `request.json`.

    Without `out` it is `runs/NAME`, `runs/NAME-2`, ...: the first that is new or holds this
    very request unfinished; `again` takes a finished one too. Raises `RunError` where `out` is
    taken by something else.
    """
    if out is not None:
        folder = _checked(Path(out), request, again)
    else:
        folder = _free(request, suffix, again)
    make_folder(folder, "out", "choose another --out")
    if not (folder / REQUEST).exists():
        replace_json(folder / REQUEST, request)
    return folder


def must_exist(folder: Path | None) -> Path | None:
    """`folder`, or `UsageError` with the nearest name beside it where nothing is there."""
    if folder is None or folder.exists():
        return folder
    close = sibling(folder)
    hint = f"did you mean {close}?" if close else "give a folder that 'visus train' wrote"
    raise UsageError(f"run: no folder {folder}; {hint}")


def read_request(folder: str | Path) -> Request:
    """What was asked of the run in `folder`."""
    path = Path(folder) / REQUEST
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise RunError(
            f"run: {folder} holds no run; give a folder that 'visus train' wrote"
        ) from None
    except ValueError:
        raise RunError(f"run: {path} is damaged; start again with another --out") from None


def finished(folder: Path) -> bool:
    """Whether the run in `folder` came to its end."""
    if not (folder / ledger.NAME).is_file():
        return False
    end = ledger.last(ledger.read(folder), "end")
    return end is not None and end["status"] == "done"


def _checked(folder: Path, request: Request, again: bool) -> Path:
    if folder.exists() and not folder.is_dir():
        raise RunError(f"out: {folder} is a file; give a folder")
    if not folder.exists() or not any(folder.iterdir()):
        return folder
    if not (folder / REQUEST).exists():
        raise RunError(f"out: {folder} is not empty and holds no run; choose another --out")
    if finished(folder) and not again:
        raise RunError(
            f"out: {folder} holds a finished run; choose another --out, or read it with 'visus report {folder}'"
        )
    if changed := difference(read_request(folder), request):
        raise RunError(
            f"out: {folder} holds another run ({changed}); choose another --out, or --resume {folder} without other options"
        )
    return folder


def _free(request: Request, suffix: str, again: bool) -> Path:
    stem = Path("runs") / f"{_name(request['data'])}{suffix}"
    names = itertools.chain(
        [stem], (stem.with_name(f"{stem.name}-{n}") for n in itertools.count(2))
    )
    return next(folder for folder in names if _ours(folder, request, again))


def _ours(folder: Path, request: Request, again: bool) -> bool:
    if not folder.exists():
        return True
    if not (folder / REQUEST).is_file() or (finished(folder) and not again):
        return False
    return not difference(read_request(folder), request)


def _name(data: str) -> str:
    return (
        re.sub(r"[^\w.-]+", "-", Path(data).resolve().stem if "/" in data else Path(data).stem)
        or "run"
    )


def difference(old: Any, new: Any, place: str = "") -> str:
    """The first place where two requests differ, as `place: old, not new`, or ''."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        found = (difference(old.get(k), new.get(k), f"{place}.{k}".lstrip(".")) for k in keys)
        return next((text for text in found if text), "")
    return "" if old == new else f"{place}: {old!r}, not {new!r}"
