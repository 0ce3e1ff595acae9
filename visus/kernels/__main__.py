"""python -m visus.kernels [info | build]: which kernel serves what, or build the C++ ones."""

from __future__ import annotations

import sys

from visus.kernels import build, info, node


def main(words: list[str]) -> int:
    """`info` (the default) or `build`; the exit status."""
    if words not in ([], ["info"], ["build"]):
        print("usage: python -m visus.kernels [info | build]", file=sys.stderr)
        return 2
    failed = [*build.build_all(), *node.rebuild()] if words == ["build"] else []
    print("\n".join(failed) or info())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
