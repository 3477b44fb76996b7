import io

import numpy as np
import pytest
from PIL import Image

from m2f_mm.datasets.id_map import IdRuns, bgr_to_id, distinct, positions, rgb_to_id
from m2f_mm.datasets.io import encode_png, read_panoptic_png


def random_pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize('shape', [(1, 1), (5, 7), (0, 4)])
def test_ids_of_colors(shape):
    rgb = random_pixels(*shape, 3)
    red, green, blue = np.moveaxis(rgb.astype(int), -1, 0)
    for ids in (rgb_to_id(rgb), bgr_to_id(rgb[..., ::-1])):
        np.testing.assert_array_equal(ids, red + 256 * green + 65536 * blue)
        assert ids.dtype == np.int32


def slow_runs(first, second):
    runs = []
    for pair in zip(first.ravel().tolist(), second.ravel().tolist()):
        if runs and runs[-1][:2] == [*pair]:
            runs[-1][2] += 1
        else:
            runs.append([*pair, 1])
    return np.array(runs).reshape(-1, 3).T


@pytest.mark.parametrize('shape, values', [((1, 1), 2), ((9, 13), 2), ((9, 13), 1), ((6, 5), 1000), ((0, 3), 2)])
def test_common_runs(shape, values):
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, values, shape, np.int32), rng.integers(-1, values, shape)
    np.testing.assert_array_equal(IdRuns(first).common_with(second), slow_runs(first, second))
    alone = slow_runs(first, np.zeros_like(first))
    np.testing.assert_array_equal([IdRuns(first).values, IdRuns(first).lengths], alone[[0, 2]])


@pytest.mark.parametrize('values', [[3, 1, 3, 0], [], [7], [1 << 24, 5, 5], [-2, 4, -2], [(1 << 20) - 1, 1 << 20]])
def test_distinct(values):
    values = np.array(values, np.int64)
    ids, where = distinct(values)
    assert ids.tolist() == sorted({*values.tolist()})
    np.testing.assert_array_equal(ids[where], values)


@pytest.mark.parametrize('known', [[], [5], [9, 2, 7], [0, 255]])
def test_positions(known):
    ids = np.arange(-1, 12)
    expected = [known.index(i) if i in known else -1 for i in ids]
    assert positions(ids, np.array(known, np.int32)).tolist() == expected


@pytest.mark.parametrize('channels', [3, 4])
def test_a_png_reads_as_pillow_reads_it(tmp_path, channels):
    """With or without alpha, turned or not by what a camera has noted."""
    pixels = random_pixels(6, 9, channels)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    for options in (dict(), dict(exif=exif)):
        Image.fromarray(pixels).save(tmp_path / 'x.png', **options)
        np.testing.assert_array_equal(read_panoptic_png(str(tmp_path / 'x.png')), rgb_to_id(pixels[..., :3]))


def test_other_formats_are_read(tmp_path):
    pixels = random_pixels(6, 9, 3)
    Image.fromarray(pixels).save(tmp_path / 'x.bmp')
    np.testing.assert_array_equal(read_panoptic_png(str(tmp_path / 'x.bmp')), rgb_to_id(pixels))


@pytest.mark.parametrize('mode', ['L', 'P', 'I;16', '1'])
def test_maps_of_labels_are_refused(tmp_path, mode):
    Image.fromarray(random_pixels(6, 9).astype(np.uint16 if mode == 'I;16' else np.uint8)).convert(mode).save(
        tmp_path / 'x.png'
    )
    with pytest.raises(ValueError, match='x.png is an image of mode .* is it a semantic label map'):
        read_panoptic_png(str(tmp_path / 'x.png'))


def test_a_changed_byte_is_noticed_or_harmless(tmp_path):
    """A damaged file is an error, or reads as Pillow reads it."""
    pixels = np.kron(random_pixels(4, 5, 3), np.ones((8, 8, 1), np.uint8))
    content = encode_png(pixels)
    for place in range(30, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 0x55
        (tmp_path / 'x.png').write_bytes(damaged)
        try:
            expected = rgb_to_id(np.asarray(Image.open(io.BytesIO(damaged))))
        except (OSError, SyntaxError):
            with pytest.raises(ValueError, match='x.png cannot be read as a panoptic PNG'):
                read_panoptic_png(str(tmp_path / 'x.png'))
        else:
            np.testing.assert_array_equal(read_panoptic_png(str(tmp_path / 'x.png')), expected)
