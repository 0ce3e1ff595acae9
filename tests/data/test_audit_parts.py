"""The numbers of an audit against closed forms, brute force and planted faults."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from visus.data.audit import channels, find_copies, shares_differ, suspects, told_apart
from visus.data.audit.descriptors import cosines, descriptor
from visus.data.audit.drift import upper_tail
from visus.data.audit.labels import arbitrary_share, doubts, joint
from visus.data.audit.linear import out_of_fold
from visus.data.audit.nearby import pairs_within
from visus.data.audit.sealed import Joined
from visus.data.exclude import read_names, write_names
from visus.errors import UsageError


class Plain:
    def __init__(self, pixels, names=None):
        self.pixels, self.names = pixels, names or [str(i) for i in range(len(pixels))]

    def __len__(self):
        return len(self.pixels)

    def batch(self, indices):
        return self.pixels[indices]


def pictures(n, seed=0, side=32):
    g = torch.Generator().manual_seed(seed)
    smooth = torch.nn.functional.interpolate(
        torch.rand(n, 3, 9, 9, generator=g), side, mode="bicubic"
    )
    return ((smooth + 0.05 * torch.randn(n, 3, side, side, generator=g)).clamp(0, 1) * 255).to(
        torch.uint8
    )


def encoded(image, quality):
    out = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(out, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(out))).permute(2, 0, 1)


def test_cosines_are_orthonormal_and_mirror_signs_are_those_of_the_mirror_image():
    rows = cosines(8, 8)
    assert torch.allclose(rows @ rows.T, torch.eye(8), atol=1e-5)
    images = torch.rand(4, 3, 16, 20)
    plain, signs = descriptor(images)
    turned, _ = descriptor(images.flip(3))
    assert torch.allclose(plain * signs, turned, atol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 5, 1700])
def test_pairs_within_are_those_of_all_with_all(n):
    g = torch.Generator().manual_seed(1)
    points = torch.rand(n, 3, generator=g)
    radius = 0.02 + 0.01 * torch.rand(n, generator=g)
    pairs, lengths = pairs_within(points, points, radius)
    far = torch.cdist(points, points) if n else torch.zeros(0, 0)
    close = (far <= torch.minimum(radius[:, None], radius[None])).triu(1).nonzero()
    assert {tuple(p) for p in pairs.tolist()} == {tuple(p) for p in close.tolist()}
    assert torch.allclose(lengths, far[pairs[:, 0], pairs[:, 1]], atol=1e-4)


def test_copies_of_every_kind_are_found_and_nothing_else():
    pixels = pictures(600)
    copies = [pixels[0], encoded(pixels[1], 60), torch.roll(pixels[2], 1, 2), pixels[3].flip(2),
              encoded(torch.roll(pixels[4].flip(2), 1, 1), 75), (pixels[5].float() * 0.9 + 10).to(torch.uint8)]  # fmt: skip
    found = find_copies(Plain(torch.cat([pixels, torch.stack(copies)])))
    assert {tuple(p) for p in found.pairs.tolist()} == {(k, 600 + k) for k in range(6)}
    kinds = {
        p[0]: (bool(e), bool(m))
        for p, e, m in zip(found.pairs.tolist(), found.exact, found.mirrored, strict=True)
    }
    assert kinds[0] == (True, False) and kinds[3] == (False, True) and kinds[4] == (False, True)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_flat_and_tiny_images_do_no_harm(n):
    for shape in ((1, 1, 1), (3, 2, 5), (1, 8, 8)):
        found = find_copies(Plain(torch.full((n, *shape), 7, dtype=torch.uint8)))
        assert len(found) == max(0, n - 1) and bool(found.exact.all())


def test_flat_images_crowd_out_nothing():
    flat = torch.randint(0, 3, (3000, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )
    assert len(find_copies(Plain(flat))) <= 12 * 3000


def test_the_binomial_tail_and_chi_squared_are_those_of_scipy():
    for right, n in ((0, 10), (5, 10), (9, 10), (60, 100), (1100, 2000)):
        assert upper_tail(right, n) == pytest.approx(stats.binom.sf(right - 1, n, 0.5), rel=1e-6)
    a, b = torch.tensor([30.0, 50, 20]), torch.tensor([40.0, 30, 30])
    expected = stats.chi2_contingency(torch.stack([a, b]).numpy())[1]
    assert shares_differ(a, b) == pytest.approx(expected, rel=1e-6)
    assert shares_differ(a, torch.zeros(3)) == 1.0


def test_no_false_drift_in_forty_draws_and_a_small_real_one_is_found():
    g = torch.Generator().manual_seed(0)
    values = [
        told_apart(torch.randn(150, 20, generator=g), torch.randn(150, 20, generator=g), seed=k).p
        for k in range(40)
    ]
    assert min(values) > 1e-3
    assert (
        told_apart(torch.randn(800, 20, generator=g), torch.randn(800, 20, generator=g) + 0.15).p
        < 1e-3
    )


def test_planted_wrong_labels_are_estimated_and_listed():
    g = torch.Generator().manual_seed(0)
    true = torch.arange(4000) % 5
    x = torch.nn.functional.one_hot(true, 5).float() * 3 + torch.randn(4000, 5, generator=g)
    wrong = torch.rand(4000, generator=g) < 0.1
    given = torch.where(wrong, (true + torch.randint(1, 5, (4000,), generator=g)) % 5, true)
    clean = out_of_fold(x, true, 5)
    assert arbitrary_share(clean, true) < 0.02
    seen = suspects(out_of_fold(x, given, 5), given)
    assert 0.08 < seen.share < 0.13
    assert seen.judged
    hits = wrong[seen.rows[: seen.wrong]]
    assert hits.float().mean() > 0.9 and hits.sum() > 0.55 * wrong.sum()


def test_the_confident_joint_is_that_of_plain_loops():
    g = torch.Generator().manual_seed(3)
    p = torch.rand(300, 4, generator=g).pow(3)
    p, y = p / p.sum(1, keepdim=True), torch.randint(0, 4, (300,), generator=g)
    limit = [float(np.mean([float(p[n, j]) for n in range(300) if y[n] == j])) for j in range(4)]
    counts = np.zeros((4, 4))
    for n in range(300):
        able = [j for j in range(4) if float(p[n, j]) >= limit[j] - 1e-6]
        if able:
            counts[int(y[n]), max(able, key=lambda j, n=n: float(p[n, j]))] += 1
    given = np.bincount(y.numpy(), minlength=4)
    expected = counts / counts.sum(1, keepdims=True) * given[:, None]
    assert torch.allclose(joint(p, y), torch.from_numpy(expected), atol=1e-9)


def test_doubts_are_those_of_bayes():
    g = torch.Generator().manual_seed(4)
    share, classes = 0.2, 5
    true = torch.rand(400, classes, generator=g, dtype=torch.float64).pow(4)
    true /= true.sum(1, keepdim=True)
    given = (1 - share) * true + share * (1 - true) / (classes - 1)
    y = torch.randint(0, classes, (400,), generator=g)
    row = torch.arange(400)
    right = (1 - share) * true[row, y]
    wrong = share * (1 - true[row, y]) / (classes - 1)
    assert torch.allclose(doubts(given, y, share), wrong / (right + wrong), atol=1e-9)


def test_predictions_that_know_nothing_judge_nothing():
    g = torch.Generator().manual_seed(5)
    y = torch.randint(0, 2, (2000,), generator=g)
    assert not suspects(torch.rand(2000, 2, generator=g).softmax(1), y).judged
    empty = suspects(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    assert not empty.judged and len(empty.rows) == 0


def test_exact_copies_by_keys_need_no_pixels():
    found = find_copies(Plain(pictures(4)), near=False, keys=["a", "b", "a", "a"])
    assert found.pairs.tolist() == [[0, 2], [0, 3]] and bool(found.exact.all())


def test_constant_grey_and_blank_are_seen():
    pixels = pictures(50, side=8)
    pixels[3] = 9
    pixels[:, 1] = 200
    seen = channels(Plain(pixels))
    assert seen.constant == [1] and seen.blank.tolist() == [3] and not seen.equal
    grey = pictures(5, side=8)[:, :1].expand(-1, 3, -1, -1).clone()
    grey[2] = 0
    seen = channels(Plain(grey))
    assert seen.equal and seen.blank.tolist() == [2]
    red = pictures(3, side=8)
    red[1] = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None]
    assert channels(Plain(red)).blank.tolist() == [1]
    assert channels(Plain(red), torch.tensor([0, 2])).blank.tolist() == []
    assert seen.mean == pytest.approx((grey.double().mean((0, 2, 3)) / 255).tolist())


def test_joined_sets_keep_the_order_asked_for():
    a, b = Plain(pictures(3, 1)), Plain(pictures(4, 2))
    joined = Joined([a, Plain(pictures(0)), b])
    rows = torch.tensor([6, 0, 3, 2])
    assert torch.equal(joined.batch(rows), torch.cat([a.pixels, b.pixels])[rows])
    assert joined.part(rows).tolist() == [2, 0, 2, 0] and len(joined) == 7


def test_a_list_of_names_is_read_as_it_was_written(tmp_path):
    names = ["cat/1.jpg", "dog/a b.png", "ö/#1.png"]
    assert read_names(write_names(tmp_path / "x.txt", names, "test")) == names
    with pytest.raises(UsageError, match="cannot read"):
        read_names(tmp_path / "none.txt")
