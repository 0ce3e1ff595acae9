"""Write docs/layers from the docstrings of visus.layers and visus.reference, with pictures.

    python docs/build.py            writes every page and picture
    python docs/build.py --check    writes nothing; exit status 1 when something is stale

The pages hold no sentence of their own but the page's title: whoever changes a docstring
changes the page. A page is a line in `PAGES`; a picture a function in docs/layers/draw.
"""

from __future__ import annotations

import importlib
import inspect
import io
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "layers"
sys.path[:0] = [str(ROOT), str(OUT)]

from visus.family import Family  # noqa: E402


class Page(NamedTuple):
    """A family of layers: its reference topics, its pictures, and which layers are its own."""

    title: str
    topics: tuple[str, ...]
    pictures: tuple[str, ...]
    words: str  # a layer belongs here if this expression is found in its module's or its own name


PAGES = {
    "convolution": Page("Convolution", ("convolution",), ("convolution",), r"conv"),
    "activation": Page("Activation", ("activation",), ("activations",), r"activ"),
    "normalization": Page(
        "Normalization",
        ("normalization", "mixture"),
        ("norm-sets", "norm-images", "norm-gradients"),
        r"norm|recalib",
    ),
    "pooling": Page("Pooling", ("pooling",), ("pooling", "pooling-windows"), r"pool"),
    "atrous": Page(
        "Atrous spatial pyramid pooling",
        ("atrous",),
        ("dilated-receptive-fields", "aspp", "aspp-gradient"),
        r"aspp|atrous",
    ),
    "linear": Page("Linear and softmax", ("linear",), ("linear", "softmax"), r"linear|flatten"),
    "loss": Page("Loss", ("loss",), ("losses-regression", "losses-classification"), r"loss"),
    "regularization": Page(
        "Regularization", ("regularization",), ("penalties", "dropout"), r"regular|dropout|penalt"
    ),
    "initialization": Page("Initialization", ("initialization",), ("initialization",), r"init"),
    "tools": Page("Working on whole models", (), (), r""),
}


# ---- what the layers package holds ----------------------------------------------------


class Layer(NamedTuple):
    """A public class, function or family (a recipe's table) of visus.layers."""

    name: str
    thing: Any
    module: str


def package() -> ModuleType | None:
    """visus.layers, or None and the reason on the screen."""
    try:
        return importlib.import_module("visus.layers")
    except ImportError as error:
        print(f"docs: visus.layers cannot be imported ({error}); its sections are left out")
        return None


def layers(package: ModuleType | None) -> list[Layer]:
    """Whatever the package gives to its users, sorted by name; [] for no package."""
    names = getattr(package, "__all__", None) or [n for n in vars(package or object) if n[0] != "_"]
    found = [(name, getattr(package, name, None)) for name in sorted(names)]
    return [
        Layer(name, thing, getattr(thing, "__module__", "").rpartition(".")[2])
        for name, thing in found
        if isinstance(thing, Family)
        or (
            (inspect.isclass(thing) or inspect.isfunction(thing))
            and package is not None
            and thing.__module__.startswith(package.__name__)
        )
    ]


def page_of(layer: Layer) -> str:
    """The first page whose words fit the layer's own name, else its module's, else the last page."""
    for name in (layer.name, layer.module):
        for page in sorted(PAGES, key=lambda page: page != "atrous"):  # ASPP is no plain pooling
            if PAGES[page].words and re.search(PAGES[page].words, name, re.IGNORECASE):
                return page
    return list(PAGES)[-1]


# ---- text -----------------------------------------------------------------------------


def prose(doc: str | None) -> str:
    """A docstring as Markdown: the words "Formula:", "Gradient:" ... stand out."""
    text = inspect.cleandoc(doc or "")
    words = "Formula|Gradient|Source|Variance|Raises|Errors"
    text = re.sub(rf"(^|(?<=[.;] ))({words})(?=[.:,])", r"**\2**", text, flags=re.MULTILINE)
    blocks = "\n\n".join(_block(block) for block in re.split(r"\n{2,}", text))
    return blocks.replace("\n```\n\n```text\n", "\n\n")  # neighboring formulas are one block


def _block(block: str) -> str:
    """Paragraphs as one line; indented blocks and tables of words stay as they are."""
    lines = block.splitlines()
    if all(line.startswith("    ") for line in lines):
        return "```text\n" + textwrap.dedent(block) + "\n```"
    if any(line.startswith(("    ", "- ")) or "  " in line.strip() for line in lines[1:]):
        return "```text\n" + block + "\n```" if "  " in block else block
    return " ".join(lines)


def call(name: str, thing: Any) -> str:
    """`name(parameters)` as it is called, without annotations."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return name
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    text = str(inspect.Signature(bare))
    text = "()" if text == "(*args, **kwargs)" else text  # nn.Module's own: there is no option
    return name + re.sub(r"<[^>]*?([\w.]+)(?: at 0x\w+)?>", r"\1", text)


def own_doc(thing: Any) -> str:
    """The thing's own docstring, none that a class inherits."""
    return (vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__) or ""


def first_line(thing: Any) -> str:
    return inspect.cleandoc(own_doc(thing)).split("\n")[0]


def functions(module: ModuleType) -> Iterator[tuple[str, Any, Any]]:
    """Public functions of a reference topic in their order, each with its backward or None."""
    own = {
        name: thing
        for name, thing in vars(module).items()
        if inspect.isfunction(thing) and thing.__module__ == module.__name__ and name[0] != "_"
    }
    for name, thing in own.items():
        if not name.endswith("_backward"):
            yield name, thing, own.get(f"{name}_backward")


def reference_section(topic: str) -> str:
    module = importlib.import_module(f"visus.reference.{topic}")
    parts = [f"## The reference: `visus.reference.{topic}`", prose(module.__doc__)]
    for name, forward, backward in functions(module):
        shown = f"```python\n{call(name, forward)}\n```"
        parts += [f"### {name} (reference)", shown, prose(forward.__doc__)]
        if backward is not None:
            parts += [f"**Backward.** {prose(backward.__doc__)}"]
    return "\n\n".join(parts)


def layer_section(found: list[Layer]) -> str:
    """The table of layers, then one part for all that share a docstring (BatchNorm1d, 2d, 3d)."""
    alike: dict[str, list[Layer]] = {}
    for layer in found:
        alike.setdefault(own_doc(layer.thing) or layer.name, []).append(layer)
    rows, parts = ["| name | what |", "| --- | --- |"], []
    for same in alike.values():
        title = ", ".join(layer.name for layer in same)
        names = ", ".join(f"`{layer.name}`" for layer in same)
        rows.append(f"| [{names}](#{anchor(title)}) | {cell(first_line(same[0].thing))} |")
        calls = "\n".join(call(layer.name, layer.thing) for layer in same)
        parts += [f"### {title}", f"```python\n{calls}\n```", prose(own_doc(same[0].thing))]
    return "\n\n".join(["## The layers: `visus.layers`", "\n".join(rows), *parts])


def anchor(title: str) -> str:
    """The address that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def family_section(name: str, family: Family) -> str:
    """The table of a family: what a recipe may name, and the options of each."""
    rows = ["| name | options | what |", "| --- | --- | --- |"]
    for member, thing in family.items():
        options = ", ".join(f"{k}={p.default!r}" for k, p in family.options(member).items())
        rows.append(f"| `{member}` | {cell(options)} | {cell(first_line(thing))} |")
    return f"## In a recipe: `visus.layers.{name}`\n\n" + "\n".join(rows)


def cell(text: str) -> str:
    """Text that does not end a table's cell."""
    return text.replace("|", "\\|")


def picture_section(names: tuple[str, ...]) -> str:
    from draw import pictures  # pyright: ignore[reportMissingImports]

    return "\n\n".join(
        f"![{' '.join(name.split('-'))}](pictures/{name}.svg)\n\n*{_caption(pictures[name])}*"
        for name in names
    )


def _caption(draw: Any) -> str:
    return " ".join((inspect.getdoc(draw) or "").split())


HEAD = "<!-- Written by docs/build.py from docstrings: change those, then run it again. -->"


def page(name: str, found: list[Layer]) -> str:
    """The whole text of one page."""
    spec = PAGES[name]
    own = [layer for layer in found if page_of(layer) == name]
    parts = [HEAD, f"# {spec.title}", picture_section(spec.pictures)]
    plain = [layer for layer in own if not isinstance(layer.thing, Family)]
    parts += [family_section(x.name, x.thing) for x in own if isinstance(x.thing, Family)]
    parts += [layer_section(plain)] if plain else []
    parts += [reference_section(topic) for topic in spec.topics]
    return "\n\n".join(part for part in parts if part) + "\n"


def index(found: list[Layer]) -> str:
    """The first page: every family with its layers and reference functions."""
    rows = ["| page | layers | reference |", "| --- | --- | --- |"]
    for name, spec in PAGES.items():
        own = ", ".join(f"`{layer.name}`" for layer in found if page_of(layer) == name)
        topics = [importlib.import_module(f"visus.reference.{topic}") for topic in spec.topics]
        known = ", ".join(
            f"[`{f}`]({name}.md#{anchor(f'{f} (reference)')})"
            for topic in topics
            for f, forward, _ in functions(topic)
            if "Source" in (forward.__doc__ or "")
        )
        rows.append(f"| [{spec.title}]({name}.md) | {own} | {known} |")
    about = prose(importlib.import_module("visus.reference").__doc__)
    return "\n\n".join([HEAD, "# Layers", "\n".join(rows), "## The reference", about]) + "\n"


# ---- files ----------------------------------------------------------------------------


def texts() -> dict[Path, str]:
    """Every page by its path."""
    found = layers(package())
    pages = {OUT / f"{name}.md": page(name, found) for name in PAGES}
    return {OUT / "README.md": index(found), **pages}


def drawings() -> dict[Path, str]:
    """Every picture by its path, as SVG without date."""
    from draw import pictures  # pyright: ignore[reportMissingImports]

    made = {}
    for name in pictures:
        buffer = io.StringIO()
        pictures.make(name).savefig(buffer, format="svg", metadata={"Date": None})
        made[OUT / "pictures" / f"{name}.svg"] = slim(buffer.getvalue())
    return made


def slim(svg: str) -> str:
    """The SVG with path coordinates to 1/100 of a point and no space at line ends."""
    digits = re.compile(r"(\.\d\d)\d+")
    svg = re.sub(r' d="[^"]*"', lambda path: digits.sub(r"\1", path.group()), svg)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def same_picture(one: str, other: str) -> bool:
    """Whether two SVGs show the same; versions of matplotlib write other paths and are not compared."""
    maker = re.compile(r"Matplotlib v[\d.]+")
    if maker.findall(one) != maker.findall(other):
        return True
    (words, numbers), (other_words, other_numbers) = _parts(one), _parts(other)
    if words != other_words or len(numbers) != len(other_numbers):
        return False
    return all(abs(a - b) < 0.02 for a, b in zip(numbers, other_numbers, strict=True))


def _parts(svg: str) -> tuple[list[str], list[float]]:
    """The text around the numbers, and the numbers; embedded images count by their pixels."""
    pixels: list[float] = []

    def read(match: re.Match) -> str:
        import base64

        from matplotlib.image import imread

        pixels.extend(imread(io.BytesIO(base64.b64decode(match.group(1)))).ravel().tolist())
        return "image"

    svg = re.sub(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)", read, svg)
    svg = re.sub(r"\b[pmhi][0-9a-f]{10}\b|image[0-9a-f]{8,}", "id", svg)  # hashes of coordinates
    number = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
    return re.split(number, svg), [float(n) for n in re.findall(number, svg)] + pixels


def stale(wanted: dict[Path, str]) -> list[str]:
    """The files that are missing, differ, or that nothing writes any more."""
    found = []
    for path, text in wanted.items():
        held = path.read_text() if path.exists() else None
        equal = held == text or (
            held is not None and path.suffix == ".svg" and same_picture(held, text)
        )
        if not equal:
            found.append(
                f"{path.relative_to(ROOT)} is {'stale' if held is not None else 'missing'}"
            )
    extra = {*OUT.glob("*.md"), *OUT.glob("pictures/*.svg")} - set(wanted)
    return found + [f"{path.relative_to(ROOT)} is written by nothing" for path in sorted(extra)]


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: python docs/build.py [--check]")
        return 2
    wanted = {**texts(), **drawings()}
    found = stale(wanted)
    if arguments:
        print("\n".join(found) or f"docs: {len(wanted)} files are as the code says")
        return int(bool(found))
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (path.suffix == ".svg" and path.exists() and same_picture(path.read_text(), text)):
            path.write_text(text)
    for path in {*OUT.glob("*.md"), *OUT.glob("pictures/*.svg")} - set(wanted):
        path.unlink()
    print(f"docs: {len(found)} of {len(wanted)} files written anew in {OUT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
