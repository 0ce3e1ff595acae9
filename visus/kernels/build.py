"""Builds the C++ kernels with whatever compiler is there, without torch's headers.

Every `cpp/*.cpp` goes into one shared library for each kind of vector instructions; its name
holds a hash of the sources, so an old build is never taken for a new one. It leaves OpenMP's
symbols open: at load they are torch's, so both share one pool of threads.

A library is looked for beside this file (built at install), then in the user's cache, where the
first use builds it once (in a checkout: beside this file); a build is locked, goes to a temporary
name and is renamed, so processes may start at the same time. Without a compiler PyTorch serves. VISUS_KERNELS=torch skips C++.
Nothing here imports torch: setup.py runs this file alone.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE / "cpp"
FLAGS = ["-std=c++17", "-O2", "-ftree-vectorize", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-fopenmp"]  # fmt: skip
X86 = {"avx512": "x86-64-v4", "avx2": "x86-64-v3", "plain": "x86-64"}


def isas() -> dict[str, list[str]]:
    """The kinds of vector instructions of this platform and their compiler flags, best first."""
    if platform.machine() in ("x86_64", "AMD64"):
        return {name: [f"-march={march}"] for name, march in X86.items()}
    return {"plain": []}


def compiler() -> str | None:
    """The C++ compiler: $CXX, g++ or c++."""
    named = os.environ.get("CXX", "").split()
    return next((found for c in [*named[:1], "g++", "c++"] if (found := shutil.which(c))), None)


def library(isa: str) -> str:
    """The file name of the library for `isa`, by the hash of the sources and flags."""
    digest = hashlib.sha256(" ".join(FLAGS + isas()[isa]).encode())
    for path in sorted(SOURCES.glob("*.*")):
        digest.update(path.name.encode() + path.read_bytes())
    return f"libvisus-{isa}-{digest.hexdigest()[:12]}.so"


def cache() -> Path:
    """The user's folder for libraries built at the first use."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "visus"
    return Path(os.environ.get("VISUS_CACHE", default)) / "kernels"


def find(isa: str) -> Path | None:
    """The library for `isa` where it was built already."""
    return found(library(isa))


def found(name: str) -> Path | None:
    """The file `name` beside this one or in the user's cache."""
    return next((p for folder in (HERE, cache()) if (p := folder / name).exists()), None)


def build(isa: str, folder: Path) -> Path:
    """Compile and link the library for `isa` into `folder`; raises OSError where it fails."""
    return link(folder / library(isa), sorted(SOURCES.glob("*.cpp")), FLAGS + isas()[isa])


def link(made: Path, sources: list[Path], flags: list[str], libraries: Sequence[str] = ()) -> Path:
    """Compile `sources` and link them to the shared library `made`; raises OSError where it fails."""
    cxx = compiler()
    if cxx is None:
        raise OSError("no C++ compiler")
    if platform.system() != "Linux":
        raise OSError(f"no C++ build for {platform.system()}")
    made.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=made.parent) as folder:
        objects = [Path(folder) / f"{s.stem}.o" for s in sources]
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda s, o: _run(cxx, *flags, "-c", s, "-o", o), sources, objects))
        # No -fopenmp here: a second OpenMP runtime must not come in.
        _run(cxx, "-shared", "-static-libgcc", "-o", Path(folder) / "made.so", *objects, *libraries)
        return Path(shutil.move(Path(folder) / "made.so", made))


def _run(*command: str | Path) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or ["it failed"]
        raise OSError(f"{command[0]}: {lines[0][:200]}")


def find_or_build(isa: str) -> Path:
    """The library for `isa`; where there is none, one process builds it and the others wait."""
    words = "the C++ kernels, once (about half a minute)"
    return once(library(isa), lambda folder: build(isa, folder), words)


def once(name: str, make: Callable[[Path], Path], words: str) -> Path:
    """The file `name`; where there is none, one process makes it and the others wait."""
    there = found(name)
    if there or compiler() is None or platform.system() != "Linux":
        return there or make(cache())
    import fcntl

    checkout = (HERE.parents[1] / "pyproject.toml").exists() and os.access(HERE, os.W_OK)
    folder = HERE if checkout else cache()
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".building.so", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (there := found(name)) is None:
            print(f"visus: building {words}", file=sys.stderr)
            there = make(folder)
    return there


def build_all(folder: Path = HERE) -> list[str]:
    """Build for every kind of vector instructions; returns one line for each that failed."""
    failed = []
    for old in folder.glob("libvisus-*.so"):
        if not old.name.startswith("libvisus-node-") and old.name not in map(library, isas()):
            old.unlink()
    for isa in isas():
        try:
            (folder / library(isa)).exists() or build(isa, folder)
        except OSError as error:
            failed.append(f"visus: no C++ kernels for {isa} ({error}); PyTorch serves instead")
            break
    return failed
