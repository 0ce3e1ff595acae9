"""The C++ build: found, shared between processes, and done without."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from visus import kernels
from visus.kernels import build

PROGRAM = """
import torch
from visus import kernels
from visus.layers.norm import BatchNorm2d
torch.manual_seed(0)
y = BatchNorm2d(3, act="relu")(torch.randn(2, 3, 4, 4))
print(kernels.info().splitlines()[0])
print(float(y.sum()))
"""


def program(**environment):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True,
        env={**os.environ, **environment}, timeout=250,
    )  # fmt: skip
    return done.stdout.splitlines(), done.stderr


def test_without_cpp_pytorch_serves():
    (line, result), _ = program(VISUS_KERNELS="torch")
    assert "missing" in line and "VISUS_KERNELS=torch" in line
    assert float(result) == pytest.approx(float(program()[0][1]), rel=1e-5)


def test_without_a_compiler_it_says_so_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "compiler", lambda: None)
    (line,) = build.build_all(tmp_path)
    assert "no C++ compiler" in line and "PyTorch serves" in line


def test_the_name_follows_the_sources(monkeypatch, tmp_path):
    (tmp_path / "a.cpp").write_text("int a;")
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    before = build.library("plain")
    (tmp_path / "a.cpp").write_text("int b;")
    assert build.library("plain") != before


def test_info_names_every_backend():
    text = kernels.info()
    assert all(name in text for name in ("cpp", "triton", "torch", "cpu", "cuda"))
    assert kernels.serving(torch.zeros(1, dtype=torch.int64)) is kernels.load("torch")[0]
