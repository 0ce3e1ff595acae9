"""Each image mode becomes the 8-bit pixels that docs/data.md promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pictures import classes, encoded, noise, save
from PIL import Image

from visus.data import prepare
from visus.data.decode import open_image, to_pixels
from visus.data.found import Unreadable
from visus.data.wish import Wish, choose_size
from visus.errors import DataError


def file(image, form="PNG", **options):
    import io

    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def decoded(data, channels=3, size=(10, 12)):
    return to_pixels(open_image(data), (channels, *size)).transpose(1, 2, 0).squeeze()


RGB, GREY = noise(1), noise(2, channels=1)


def test_color_and_grey_are_taken_as_they_are():
    np.testing.assert_array_equal(decoded(encoded(RGB, "PNG")), RGB)
    np.testing.assert_array_equal(decoded(encoded(GREY, "PNG"), 1), GREY)


def test_grey_in_a_color_set_is_repeated_and_color_in_a_grey_set_is_its_luma():
    np.testing.assert_array_equal(decoded(encoded(GREY, "PNG")), np.stack([GREY] * 3, -1))
    luma = RGB @ np.array([0.299, 0.587, 0.114])
    assert np.abs(decoded(encoded(RGB, "PNG"), 1) - luma).max() <= 1


def test_a_palette_is_resolved():
    image = Image.fromarray(RGB).quantize(16)
    np.testing.assert_array_equal(decoded(file(image)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_shows_white(mode):
    alpha = np.zeros((10, 12), np.uint8)
    alpha[:, 6:] = 255
    base = Image.fromarray(RGB if mode != "LA" else GREY).convert("RGB" if mode != "LA" else "L")
    base.putalpha(Image.fromarray(alpha))
    if mode == "P":
        base = Image.fromarray(np.full((10, 12), 3, np.uint8), "P")
        base.putpalette([7] * 768)
        assert decoded(file(base, transparency=3)).min() == 255
        return
    seen = decoded(file(base))
    assert (seen[:, :6] == 255).all()
    np.testing.assert_array_equal(seen[:, 6:], (RGB if mode == "RGBA" else np.stack([GREY] * 3, -1))[:, 6:])  # fmt: skip


def test_half_transparent_is_mixed_with_white():
    image = Image.fromarray(np.dstack([np.zeros((10, 12, 3), np.uint8), np.full((10, 12), 128, np.uint8)]))  # fmt: skip
    assert np.abs(decoded(file(image)).astype(int) - 127).max() <= 1


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bits_are_divided_by_257(form):
    deep = np.linspace(0, 65535, 120).astype(np.uint16).reshape(10, 12)
    np.testing.assert_array_equal(
        decoded(file(Image.fromarray(deep), form), 1), np.rint(deep / 257)
    )


def test_floats_in_tiff_are_0_to_1_or_refused():
    values = np.linspace(0, 1, 120, dtype=np.float32).reshape(10, 12)
    seen = decoded(file(Image.fromarray(values), "TIFF"), 1)
    np.testing.assert_array_equal(seen, np.rint(values.astype(float) * 255))
    with pytest.raises(Unreadable, match="values from 0 to 2"):
        decoded(file(Image.fromarray(values * 2), "TIFF"), 1)


def test_one_bit_is_black_and_white():
    seen = decoded(file(Image.fromarray(GREY).convert("1")), 1)
    assert set(np.unique(seen)) == {0, 255}


def test_cmyk_is_converted():
    flat = Image.new("CMYK", (12, 10), (0, 255, 255, 0))  # no cyan, all magenta and yellow: red
    seen = decoded(file(flat, "TIFF"))
    assert (seen == [255, 0, 0]).all()
    assert decoded(file(flat, "JPEG", quality=95))[..., 0].min() > 240


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_applied_to_pixels_and_size(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    image = open_image(file(Image.fromarray(RGB), exif=exif))
    from visus.data.decode import Encoded

    looks = {1: RGB, 2: RGB[:, ::-1], 3: RGB[::-1, ::-1], 4: RGB[::-1], 5: RGB.swapaxes(0, 1),
             6: RGB[::-1].swapaxes(0, 1), 7: RGB[::-1, ::-1].swapaxes(0, 1), 8: RGB[:, ::-1].swapaxes(0, 1)}  # fmt: skip
    size = looks[turn].shape[:2]
    assert Encoded(image).look.size == size
    np.testing.assert_array_equal(to_pixels(image, (3, *size)).transpose(1, 2, 0), looks[turn])


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (12, 10), c) for c in ("red", "blue")]
    seen = decoded(file(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert (seen == [255, 0, 0]).all()


def test_resizing_keeps_the_aspect_and_cuts_out_the_centre():
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 100:200] = 255
    seen = decoded(encoded(wide, "PNG"), 3, (20, 20))
    assert (seen[:, 1:-1] == 255).all() and seen.min() > 200  # the filter reaches over the edge


def test_resizing_is_antialiased():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    seen = decoded(encoded(stripes, "PNG"), 1, (16, 16))
    assert np.abs(seen.astype(int) - 127).max() < 16


def test_a_large_jpeg_is_the_same_picture_when_libjpeg_reduces_it():
    smooth = np.add.outer(np.arange(800), np.arange(1000)).astype(np.float64) * (255 / 1800)
    data = encoded(np.stack([smooth.astype(np.uint8)] * 3, -1), quality=95)
    whole = np.asarray(Image.open(__import__("io").BytesIO(data)).resize((40, 40), 2, (100, 0, 900, 800)))  # fmt: skip
    assert np.abs(decoded(data, 3, (40, 40)).astype(int) - whole).max() <= 3


@pytest.mark.parametrize(
    ("sizes", "chosen"),
    [
        ([(32, 32)] * 5, (32, 32)),
        ([(28, 20)] * 5, (28, 20)),
        ([(97, 97)] * 5, (64, 64)),
        ([(480, 640), (300, 200), (900, 700)], (64, 64)),
        ([(50, 60), (45, 80), (70, 51)], (48, 48)),
        ([(5, 9), (5, 8)], (5, 5)),
    ],
)
def test_the_size_is_chosen_from_the_data(sizes, chosen):
    assert choose_size(sizes) == chosen


def test_channels_are_chosen_from_all_images_even_where_a_sample_looks_grey(tmp_path):
    classes(tmp_path, {"a": 300, "b": 300}, channels=1)
    save(tmp_path / "b" / "001.png", noise(7))
    assert Wish().open
    data = prepare(tmp_path, workers=1)
    assert data.channels == 3
    assert prepare(tmp_path, channels=1).channels == 1
    row = data.train.names.index("a/000.png") if "a/000.png" in data.train.names else 0
    seen = data.train.batch(torch.tensor([row]))[0]
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2])


def test_mixed_sizes_and_modes_make_one_data_set(tmp_path):
    classes(tmp_path, {"a": 20, "b": 20}, size=(70, 90))
    save(tmp_path / "a" / "tall.png", noise(5, (200, 33), channels=1))
    data = prepare(tmp_path)
    assert data.size == (64, 64) and data.channels == 3
    assert prepare(tmp_path, size=24).size == (24, 24)


def test_object_arrays_of_images_stay_refused():
    with pytest.raises(DataError):
        prepare((np.array([object()] * 4).reshape(1, 2, 2), [0]))
