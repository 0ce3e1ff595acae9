"""Data sets by name: from a server on the loopback, in the form of the real archives."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import struct
import tarfile
import threading

import numpy as np
import pytest
import torch

from visus.data import prepare
from visus.data.sources import cifar, mnist
from visus.errors import DataError


class Quiet(http.server.SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The folder that a loopback server serves, set as the mirror."""
    folder = tmp_path / "served"
    folder.mkdir()
    Quiet.asked = []
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("VISUS_MIRROR", f"http://127.0.0.1:{http_server.server_port}")
        monkeypatch.setenv("VISUS_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield folder
        http_server.shutdown()
        thread.join()


def serve(folder, monkeypatch, table, name, file, data):
    (folder / name).mkdir(exist_ok=True)
    (folder / name / file).write_bytes(data)
    monkeypatch.setitem(table, file, hashlib.sha256(data).hexdigest())


def idx(array):
    head = struct.pack(">4B", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}i", *array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes())


def draw(*shape):
    return np.random.default_rng(len(shape)).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_mnist(server, monkeypatch, name):
    images, labels = draw(40, 28, 28), np.arange(40) % 10
    for stem, part in (("train", slice(0, 30)), ("t10k", slice(30, 40))):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            file = f"{stem}-{kind}-ubyte.gz"
            serve(server, monkeypatch, mnist.SHA256[name], name, file, idx(array[part]))
    data = prepare(name, validation=0)
    assert (data.channels, data.size) == (1, (28, 28))
    assert data.split.sizes == {"train": 30, "validation": 0, "test": 10}
    assert data.classes[1] == ("1" if name == "mnist" else "Trouser")
    np.testing.assert_array_equal(data.train.batch(torch.arange(30))[:, 0], images[:30])
    asked = len(Quiet.asked)
    prepare(name, validation=0)
    assert len(Quiet.asked) == asked == 4  # kept


def archive(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"cifar-batches-bin/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def records(images, *labels):
    columns = [np.asarray(label, np.uint8)[:, None] for label in labels]
    return np.hstack([*columns, images.reshape(len(images), -1)]).tobytes()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar(server, monkeypatch, name):
    file, names, _, train, test = cifar.FORMS[name]
    images, fine = draw(60, 3, 32, 32), np.arange(60) % 3
    labels = (fine,) if name == "cifar10" else (fine[::-1], fine)
    parts = np.array_split(np.arange(60), len(train) + 1)
    held = {f: records(images[p], *(k[p] for k in labels)) for f, p in zip([*train, test], parts, strict=True)}  # fmt: skip
    held |= {names: b"apple\nbear\nchair\n", "readme.html": b"x"}
    serve(server, monkeypatch, cifar.SHA256, name, file, archive(held))
    data = prepare(name, validation=0)
    n = 60 - len(parts[-1])
    assert data.classes == ["apple", "bear", "chair"] and data.split.sizes["train"] == n
    np.testing.assert_array_equal(data.train.batch(torch.arange(n)), images[:n])
    assert data.train.targets.tolist() == fine[:n].tolist()


def test_other_bytes_than_known_are_refused_and_not_kept(server, tmp_path):
    (server / "cifar10").mkdir()
    (server / "cifar10" / "cifar-10-binary.tar.gz").write_bytes(b"something else")
    with pytest.raises(DataError, match="sha256 is not the known one") as caught:
        prepare("cifar10")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.tar.gz"))


def test_a_file_that_is_not_there_and_a_server_that_is_not_there_are_one_line(server, monkeypatch):
    with pytest.raises(DataError, match=r"cannot get .*404") as caught:
        prepare("mnist")
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("VISUS_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="connect to the net, set VISUS_MIRROR") as caught:
        prepare("mnist")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_archives_in_another_form_are_one_line(server, monkeypatch):
    file = cifar.FORMS["cifar10"][0]
    for data, words in (
        (archive({"a.bin": b"1"}), "holds no batches.meta"),
        (b"no tar", "cannot read"),
    ):
        serve(server, monkeypatch, cifar.SHA256, "cifar10", file, data)
        with pytest.raises(DataError, match=words):
            prepare("cifar10")
    for stem in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        serve(server, monkeypatch, mnist.SHA256["mnist"], "mnist", f"{stem}-ubyte.gz", gzip.compress(b"\0\0\x08\x03"))  # fmt: skip
    with pytest.raises(DataError, match="cannot read"):
        prepare("mnist")
