"""The page: sections in their order, put into one offline HTML file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from visus import __version__
from visus.files import replace_text
from visus.ledger import Line, read
from visus.report import words
from visus.report.blocks import tag
from visus.report.section import Section, ordered
from visus.report.story import Story

NAME = "report.html"
STATUS = {"open": "no end recorded", "done": "done", "stopped": "stopped", "failed": "failed"}


@dataclass
class Page:
    """The report as text. `broken` names each section whose code failed, with its error."""

    html: str
    broken: dict[str, Exception] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def write(run_folder: str | Path) -> Path:
    """Write `report.html` into the run's folder from its ledger alone; returns its path.

    Raises `RunError` where the folder has no ledger or cannot be written. A section that
    fails is named on the page and costs no other section.
    """
    folder = Path(run_folder)
    folder = folder if folder.is_dir() else folder.parent
    return replace_text(folder / NAME, compose(read(run_folder)).html)


def compose(lines: Iterable[Line]) -> Page:
    """The page for a ledger's lines, with the sections that failed or had nothing to show."""
    story, page, blocks = Story(lines), Page(""), []
    for name, section in ordered():
        if story.subject not in section.of:
            continue
        body = _body(name, section, story, page)
        if body is None and not section.awaited(story):
            continue
        if body is None:
            page.missing.append(section.title)
        else:
            blocks.append({"id": name, "title": section.title, "body": body})
    page.html = _frame(story, blocks, page)
    return page


def _body(name: str, section: Section, story: Story, page: Page) -> Markup | None:
    try:
        return section.body(story)
    except Exception as error:  # one section's bug must not cost the report
        page.broken[name] = error
        said = f"This section could not be drawn ({type(error).__name__}: {error}). The rest of the report is not affected."
        return tag("p", said, class_="broken", data_broken=name)


def _frame(story: Story, blocks: list[dict], page: Page) -> str:
    style, script = _asset("page.css"), _asset("page.js")
    html = _template().render(
        blocks=blocks,
        title=_title(story),
        model=_model(story),
        status=story.status,
        status_words=STATUS.get(story.status, story.status),
        begun=words.moment(story.every[0].get("t")) if story.every else words.NONE,
        version=words.text(story.last("run").get("version") or __version__),
        missing=page.missing,
        style=Markup(style),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return html.encode("utf-8", "replace").decode()


def _model(story: Story) -> str:
    if story.subject == "watch":
        return f"under the doctor for {words.some(story.last('end').get('steps'), 'step')}"
    if story.subject == "audit":
        return "audit of the data"
    return words.text(story.last("model").get("name"))


def _title(story: Story) -> str:
    if story.subject == "watch":
        return words.text(story.last("watch").get("script")).rsplit("/", 1)[-1]
    source = words.text(story.last("data").get("source")).rstrip("/")
    name = source.rsplit("/", 1)[-1]
    return "Training run" if name in ("", words.NONE) else name


@cache
def _asset(name: str) -> str:
    return (files("visus.report") / "templates" / name).read_text(encoding="utf-8")


@cache
def _template():
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("page.html"))
