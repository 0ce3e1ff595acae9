"""Elements of HTML and SVG as escaped text: `tag("text", name, x=3, class_="axis")`."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup, escape

_VOID = {"img", "br", "meta", "input"}


def tag(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """One element. Children that are not `Markup` are escaped, attributes always.

    `None` children and attributes are left out; `class_` reads `class`, `data_key` reads
    `data-key`; floats are written with two decimals at most.
    """
    heads = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{heads}/>")
    body = join(*children)
    return Markup(f"<{name}{heads}>{body}</{name}>")


def join(*children: Any) -> Markup:
    """Children one after the other; lists are opened, None is left out."""
    parts = []
    for child in children:
        if isinstance(child, (list, tuple)):
            parts.append(join(*child))
        elif child is not None:
            parts.append(escape(child))
    return Markup("").join(parts)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(escape(str(value)))
