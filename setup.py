"""Builds the C++ kernels at install where there is a compiler; without one the install goes on."""

import importlib.util
import os
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py
from setuptools.command.develop import develop
from setuptools.command.editable_wheel import editable_wheel

HERE = Path(__file__).parent / "visus" / "kernels"


def kernels(folder: Path) -> None:
    """Compile into `folder`; a failure is one line, not an error."""
    if os.environ.get("VISUS_KERNELS") == "torch":
        return
    spec = importlib.util.spec_from_file_location("visus_build", HERE / "build.py")
    assert spec is not None and spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    try:
        print(*build.build_all(folder), sep="\n")
    except OSError as error:
        print(f"visus: no C++ kernels ({error}); PyTorch serves instead")


class BuildPy(build_py):
    def run(self):
        super().run()
        if not getattr(self, "editable_mode", False):
            kernels(Path(self.build_lib) / "visus" / "kernels")


class Editable(editable_wheel):
    def run(self):
        kernels(HERE)
        super().run()


class Develop(develop):
    def run(self):
        kernels(HERE)
        super().run()


class WithLibraries(Distribution):
    def has_ext_modules(self):  # the wheel is for this platform
        return True


setup(
    cmdclass={"build_py": BuildPy, "editable_wheel": Editable, "develop": Develop},
    distclass=WithLibraries,
)
