"""Normalization under autograd in C++: forward and backward of a norm without Python between.

`cpp/node/node.cpp` is compiled against the headers of the torch that runs, at the first use, into
a library of its own, whose name holds torch's version and the hash of its source. Where that does
not work (no compiler, no headers, VISUS_KERNELS=no-node) `normalize.py` does the same in Python;
`about()` says why. A build that failed leaves a note, so that it is tried once, not at each start;
`python -m visus.kernels build` tries again.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.machinery
import importlib.util
import os
import platform
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

import torch

from visus.kernels import build, cpp_backend

NAME = "visus_node"
SOURCE = build.SOURCES / "node" / "node.cpp"
FLAGS = ["-std=c++20", "-O2", "-fPIC", "-w"]


def _home() -> Path:
    return Path(torch.__file__).parent


def _flags() -> list[str]:
    include = _home() / "include"
    folders = [include, include / "torch/csrc/api/include", sysconfig.get_paths()["include"]]
    abi = int(torch.compiled_with_cxx11_abi())
    return [*FLAGS, f"-D_GLIBCXX_USE_CXX11_ABI={abi}", *(f"-I{folder}" for folder in folders)]


def library() -> str:
    """The file name of the node: by torch, Python and the sources."""
    build_of = torch.__version__, torch.version.git_version, torch.compiled_with_cxx11_abi()
    digest = hashlib.sha256(f"{build_of} {sys.version} {FLAGS}".encode())
    for path in (SOURCE, build.SOURCES / "args.h"):
        digest.update(path.read_bytes())
    return f"libvisus-node-{digest.hexdigest()[:12]}.so"


def _missing() -> str | None:
    """What the build would lack, as far as a look tells."""
    if platform.system() != "Linux":
        return f"no C++ build for {platform.system()}"
    if build.compiler() is None:
        return "no C++ compiler"
    if not (_home() / "include/torch/csrc/autograd/saved_variable.h").exists():
        return "torch brings no headers"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "no Python.h"
    return None


def compile_into(folder: Path) -> Path:
    """Compile and link the node into `folder`; raises OSError where it fails."""
    if (lacking := _missing()) is not None:
        raise OSError(lacking)
    libraries = [f"-L{_home() / 'lib'}", "-ltorch_cpu", "-lc10", "-ltorch_python"]
    return build.link(folder / library(), [SOURCE], _flags(), libraries)


def note() -> Path:
    """Where a failed build says by which compiler, and why."""
    return build.cache() / f"{library()}.failed"


def _find_or_build() -> Path:
    path, cxx = note(), build.compiler()
    if path.exists() and build.found(library()) is None:
        by, *why = path.read_text().splitlines()
        if by == str(cxx):
            raise OSError(f"{' '.join(why)} (noted in {path})")
    try:
        return build.once(library(), compile_into, "the autograd node, once (about 15 s)")
    except OSError as error:
        if _missing() is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{cxx}\n{' '.join(str(error).split())}\n")
        raise


def rebuild() -> list[str]:
    """Build the node if it is not there, whatever a note says; one line where that fails."""
    note().unlink(missing_ok=True)
    try:
        _find_or_build()
    except OSError as error:
        return [f"visus: no C++ autograd node ({error}); Python serves instead"]
    return []


@cache
def _module() -> tuple[Any, str]:
    if os.environ.get("VISUS_KERNELS") == "no-node":
        return None, "VISUS_KERNELS=no-node"
    if cpp_backend.missing() is not None:
        return None, "no C++ kernels"
    try:
        path = _find_or_build()
        loader = importlib.machinery.ExtensionFileLoader(NAME, str(path))
        spec = importlib.util.spec_from_file_location(NAME, path, loader=loader)
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        loader.exec_module(module)
    except (OSError, ImportError) as error:
        return None, " ".join(str(error).split())
    places = (_address(name) for name in ("visus_norm", "visus_layer"))
    module.kernels(*places, cpp_backend.PAST)
    return module, f"autograd in C++ ({path})"


def _address(name: str) -> int:
    return ctypes.cast(cpp_backend.function(name), ctypes.c_void_p).value or 0


def about() -> tuple[bool, str]:
    """Whether norms run under autograd in C++, and why."""
    module, why = _module()
    return module is not None, why if module else f"autograd in Python: {why}"


def _nothing(*_: Any) -> None:
    """The call of an algebra that the node does not have."""


def call(form: tuple[Any, ...] | None, takes: int, learns: int, again: Any) -> Any:
    """A function `(x, act, alpha, tensors, running)` -> y, or None where Python must do it.

    `form` is (rows, eps, gate or None, groups, axes) of an algebra, or None where no kernel has it;
    `again(g, x, tensors, act, alpha)` gives gradients that can be differentiated again. `act` is a
    number, see `cpp_backend.ACTS`.
    """
    module = None if form is None else _module()[0]
    return module.job(*form, takes, learns, again) if module and form else _nothing
