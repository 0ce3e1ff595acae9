"""Write docs/findings from the docstrings of the doctor's rules: a page a finding.

python docs/findings.py            writes every page
python docs/findings.py --check    writes nothing; exit status 1 when a page is stale
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "findings"
sys.path.insert(0, str(ROOT))

PARTS = ("What", "Why", "How", "Cure", "Not", "Source")


def page(name: str, docstring: str) -> str:
    """The page of a rule: its first sentence, then its parts, each one paragraph."""
    first, _, rest = docstring.partition("\n\n")
    split = re.split(rf"^({'|'.join(PARTS)}):", rest, flags=re.MULTILINE)
    pairs = zip(split[1::2], split[2::2], strict=True)
    parts = [f"**{part}:** {' '.join(text.split())}" for part, text in pairs]
    return "\n\n".join([f"# {name}", " ".join(first.split()), *parts]) + "\n"


def pages() -> dict[Path, str]:
    """Every page by its file."""
    import inspect

    from visus.doctor.rules import rules

    return {OUT / f"{name}.md": page(name, inspect.getdoc(rules[name]) or "") for name in rules}


def stale() -> list[str]:
    """The names of pages that are missing, differ, or belong to no rule."""
    wanted = pages()
    held = {path for path in OUT.glob("*.md") if path.name != "README.md"}
    differ = {p for p, text in wanted.items() if not p.exists() or p.read_text() != text}
    return sorted(path.name for path in differ | (held - set(wanted)))


def main() -> None:
    if "--check" in sys.argv[1:]:
        if found := stale():
            sys.exit(f"stale: {', '.join(found)}; run: python docs/findings.py")
        return
    OUT.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
