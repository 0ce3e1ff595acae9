"""What every jitter must hold, checked on each member; and the checks see members that break them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from visus.data import Jitter, jitter_default, jitters
from visus.errors import RecipeError, UsageError

SHAPES = [(8, 3, 16, 16), (5, 1, 7, 9), (3, 3, 1, 1), (1, 3, 8, 8), (0, 3, 8, 8), (4, 1, 1, 5),
          (4, 2, 5, 1)]  # fmt: skip
K = 4


def batch(shape, seed=0, dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(shape, generator=draw).to(dtype)
    return images, torch.randint(K, (shape[0],), generator=draw)


def with_generator(member, images, targets, seed=5):
    if member.mixes and targets.ndim == 1:
        targets = nn.functional.one_hot(targets, K).to(images.dtype)
    return member(images, targets, torch.Generator().manual_seed(seed))


def same_again(member):
    """A function of the generator alone, whatever torch's own generator does."""
    images, targets = batch((8, 3, 16, 16))
    first = with_generator(member, images, targets)
    torch.rand(3)
    again = with_generator(member, images, targets)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])


def global_generator_untouched(member):
    before = torch.get_rng_state()
    with_generator(member, *batch((8, 3, 16, 16)))
    assert torch.equal(torch.get_rng_state(), before)


def shape_type_and_range_kept(member):
    for shape in SHAPES:
        for dtype in (torch.float32, torch.float16, torch.float64):
            images, targets = batch(shape, dtype=dtype)
            seen, _ = with_generator(member, images, targets)
            assert seen.shape == images.shape and seen.dtype == dtype, (shape, dtype)
            assert torch.isfinite(seen).all(), (shape, dtype)
            assert ((seen >= 0) & (seen <= 1)).all(), (shape, dtype)


def input_left_alone(member):
    images, targets = batch((8, 3, 16, 16))
    held = images.clone(), targets.clone()
    seen, _ = with_generator(member, images, targets)
    seen.zero_()
    assert torch.equal(images, held[0]) and torch.equal(targets, held[1])


def targets_stay_or_sum_to_one(member):
    images, targets = batch((8, 3, 16, 16))
    _, seen = with_generator(member, images, targets)
    if member.mixes:
        torch.testing.assert_close(seen.sum(1), torch.ones(8))
        assert (seen >= 0).all()
    else:
        assert torch.equal(seen, targets)
    soft = torch.softmax(torch.randn(8, K, generator=torch.Generator().manual_seed(1)), 1)
    torch.testing.assert_close(with_generator(member, images, soft)[1].sum(1), torch.ones(8))


def threads_do_not_matter(member):
    images, targets = batch((64, 3, 32, 32))
    threads = torch.get_num_threads()
    try:
        seen = []
        for count in (1, 2):
            torch.set_num_threads(count)
            seen.append(with_generator(member, images, targets)[0])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*seen)


def layout_does_not_matter(member):
    images, targets = batch((8, 3, 16, 16))
    plain = with_generator(member, images, targets)[0]
    last = with_generator(member, images.to(memory_format=torch.channels_last), targets)[0]
    wide = torch.zeros(8, 3, 16, 40)
    wide[..., 3:35:2] = images
    strided = with_generator(member, wide[..., 3:35:2], targets)[0]
    torch.testing.assert_close(last, plain, rtol=0, atol=1e-6)
    torch.testing.assert_close(strided, plain, rtol=0, atol=1e-6)


def images_do_not_all_get_the_same(member):
    images = torch.rand(1, 3, 16, 16).expand(64, 3, 16, 16)
    if not member.mixes:
        seen, _ = with_generator(member, images, torch.zeros(64, dtype=torch.int64))
        assert not (seen == seen[:1]).all()


CONTRACT = [same_again, global_generator_untouched, shape_type_and_range_kept, input_left_alone,
            targets_stay_or_sum_to_one, threads_do_not_matter, layout_does_not_matter,
            images_do_not_all_get_the_same]  # fmt: skip


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", list(jitters))
def test_every_jitter(name, check):
    check(jitters.make(name))


class Broken:
    mixes = False

    def __call__(self, images, targets, generator):
        return images.flip(3), targets


class FromTheGlobalGenerator(Broken):
    def __call__(self, images, targets, generator):
        return (images + torch.rand(len(images), 1, 1, 1)) / 2, targets


class OutOfRange(Broken):
    def __call__(self, images, targets, generator):
        return images * 1.5, targets


class InPlace(Broken):
    def __call__(self, images, targets, generator):
        return images.mul_(0.5), targets


class LosesTargets(Broken):
    def __call__(self, images, targets, generator):
        return images.clone(), targets * 0


class OneDrawForAll(Broken):
    def __call__(self, images, targets, generator):
        return images * torch.rand(1, generator=generator), targets


class ByStride(Broken):
    def __call__(self, images, targets, generator):
        return images.clone(memory_format=torch.preserve_format) * images.stride(3), targets


class ByThreads(Broken):
    def __call__(self, images, targets, generator):
        return images / torch.get_num_threads(), targets


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (FromTheGlobalGenerator, same_again),
        (FromTheGlobalGenerator, global_generator_untouched),
        (OutOfRange, shape_type_and_range_kept),
        (InPlace, input_left_alone),
        (LosesTargets, targets_stay_or_sum_to_one),
        (OneDrawForAll, images_do_not_all_get_the_same),
        (ByStride, layout_does_not_matter),
        (ByThreads, threads_do_not_matter),
    ],
)
def test_the_contract_sees_a_broken_member(broken, check):
    with pytest.raises((AssertionError, RuntimeError)):
        check(broken())


def test_a_jitter_is_a_function_of_seed_and_step():
    jitter = Jitter({name: {} for name in jitters}, classes=K)
    images, targets = batch((16, 3, 16, 16))
    first = jitter(images, targets, 3, 7)
    for seed, step in ((3, 8), (4, 7), (3 + 2**32, 7), (3, 7 + 2**32)):
        assert not torch.equal(jitter(images, targets, seed, step)[0], first[0])
    fresh = Jitter({name: {} for name in jitters}, classes=K)(images, targets, 3, 7)
    assert torch.equal(fresh[0], first[0]) and torch.equal(fresh[1], first[1])


def test_switching_one_off_changes_nothing_in_the_others():
    images, targets = batch((16, 3, 16, 16))
    both = Jitter({"flip": {"probability": 0.0}, "crop": {"padding": 3}}, classes=K)
    alone = Jitter({"crop": {"padding": 3}}, classes=K)
    assert torch.equal(both(images, targets, 1, 2)[0], alone(images, targets, 1, 2)[0])


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("flop", {}, "did you mean 'flip'"),
        ("crop", {"paddings": 3}, "did you mean 'padding'"),
        ("crop", {"padding": -1}, "from 0"),
        ("crop", {"fill": "mirror"}, "reflect"),
        ("flip", {"probability": 2.0}, "from 0 to 1"),
        ("mixup", {"alpha": -1.0}, "from 0 to 100"),
    ],
)
def test_wrong_options_are_refused_with_the_way_out(name, options, words):
    with pytest.raises(RecipeError, match=words):
        Jitter({name: options}, classes=K)


def test_bytes_are_refused():
    with pytest.raises(UsageError, match="floats"):
        Jitter({"flip": {}}, classes=K)(
            torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1), 0, 0
        )


# What each member does, against the plain way of doing it.


def test_crop_is_padding_and_cutting_out():
    images, targets = batch((40, 3, 12, 10))
    for fill, mode in (("reflect", "reflect"), ("zero", "constant")):
        seen, _ = Jitter({"crop": {"padding": 3, "fill": fill}}, classes=K)(images, targets, 1, 1)
        padded = nn.functional.pad(images, (3, 3, 3, 3), mode=mode)
        windows = {}
        for i in range(40):
            match = [(dy, dx) for dy in range(7) for dx in range(7)
                     if torch.equal(padded[i, :, dy : dy + 12, dx : dx + 10], seen[i])]  # fmt: skip
            assert len(match) == 1, i
            windows[match[0]] = True
        assert len(windows) > 20


def test_flip_flips_about_half_and_exactly_those():
    images, targets = batch((400, 3, 6, 5))
    seen, _ = Jitter({"flip": {}}, classes=K)(images, targets, 1, 1)
    mirrored = (seen == images.flip(3)).flatten(1).all(1)
    assert torch.equal(mirrored, ~(seen == images).flatten(1).all(1))
    assert 150 < int(mirrored.sum()) < 250


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_affine_turns_by_the_angle_it_drew(degrees, monkeypatch):
    import visus.data.jitter.affine as affine

    images, targets = batch((2, 3, 9, 9))
    drawn = iter([float(degrees), 1.0, 0.0, 0.0, 0.0])
    monkeypatch.setattr(affine, "uniform", lambda x, g, *_: torch.full((len(x),), next(drawn)))
    seen, _ = affine.Affine()(images, targets, torch.Generator())
    torch.testing.assert_close(seen, images.rot90(degrees // 90, (2, 3)), rtol=0, atol=1e-5)


def test_affine_with_nothing_to_do_is_the_identity_on_any_aspect():
    images, targets = batch((2, 3, 7, 13))
    still = jitters.make("affine", degrees=0.0, scale=0.0, shear=0.0, shift=0.0)
    seen, _ = still(images, targets, torch.Generator())
    torch.testing.assert_close(seen, images, rtol=0, atol=1e-5)


def test_color_with_nothing_to_do_is_the_identity():
    images, targets = batch((6, 3, 8, 8))
    still = jitters.make("color", brightness=0.0, contrast=0.0, saturation=0.0)
    torch.testing.assert_close(still(images, targets, torch.Generator())[0], images)


def test_cutout_blots_out_one_square_with_the_mean_color():
    images, targets = batch((64, 3, 16, 16))
    seen, _ = Jitter({"cutout": {"size": 0.5}}, classes=K)(images, targets, 0, 0)
    for image, before in zip(seen, images, strict=True):
        hole = (image != before).any(0)
        rows, columns = hole.any(1), hole.any(0)
        assert torch.equal(hole, rows[:, None] & columns[None, :]) and 1 <= int(rows.sum()) <= 8
        torch.testing.assert_close(image[:, hole].mean(1), before.mean((1, 2)))


def test_mixup_blends_images_and_targets_by_the_same_share():
    images = torch.arange(32.0).div(31).view(32, 1, 1, 1).expand(32, 1, 4, 4)
    targets = torch.eye(32)
    seen, mixed = jitters.make("mixup", alpha=1.0)(
        images, targets, torch.Generator().manual_seed(1)
    )
    torch.testing.assert_close(seen.mean((1, 2, 3)), mixed @ (torch.arange(32.0) / 31))
    assert int((mixed > 0).sum(1).max()) == 2
    _, share = jitters.make("mixup", alpha=0.0)(images, targets, torch.Generator())
    assert torch.equal(share, targets)


def test_beta_shares_have_the_moments_of_the_distribution():
    share = jitters.make("mixup", alpha=0.4).shares(20_000, torch.Generator().manual_seed(0))
    assert abs(float(share.mean()) - 0.5) < 0.01
    assert abs(float(share.var()) - 1 / (4 * (2 * 0.4 + 1))) < 0.003


def test_the_default_does_not_mirror_digits():
    assert jitter_default(1, (28, 28)) == {"crop": {"padding": 3}}
    assert jitter_default(3, (32, 32)) == {"flip": {}, "crop": {"padding": 4}}
    assert "flip" in jitter_default(1, (28, 28), "fashion-mnist")
