"""The gallery: every figure of a folder on one page that needs no network."""

from __future__ import annotations

import base64
from collections import Counter
from pathlib import Path
from typing import Any

from visus import files
from visus.lab import TOPICS
from visus.lab.experiment import FAILS, HOLDS


def write(folder: Path, records: list[dict[str, Any]]) -> Path:
    """Write `gallery.html` from the records and the figures beside it."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    text = (Path(__file__).parent / "gallery.html").read_text(encoding="utf-8")
    topics = [(t, [_shown(folder, r) for r in records if r["topic"] == t]) for t in TOPICS]
    page = environment.from_string(text).render(
        topics=[(t, held) for t, held in topics if held], tally=tally(records), total=len(records)
    )
    return files.replace_text(folder / "gallery.html", page)


def tally(records: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """How often each verdict was given; "failed" where an experiment broke off."""
    return Counter(r.get("verdict", "failed") for r in records).most_common()


def _shown(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    blank = {
        "claim": "",
        "source": "",
        "checks": [],
        "data": [],
        "seeds": 0,
        "seconds": 0,
        "size": "",
    }
    if "failed" in record:
        return {**blank, **record, "verdict": "failed", "tone": "bad", "image": ""}
    tones = {HOLDS: "good", FAILS: "bad"}
    raw = (folder / f"{record['name']}.svg").read_bytes()
    image = "data:image/svg+xml;base64," + base64.b64encode(raw).decode()
    return {
        **blank,
        **record,
        "tone": tones.get(record["verdict"], "open"),
        "image": image,
        "failed": "",
    }
