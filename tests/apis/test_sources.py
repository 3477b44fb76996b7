"""Where images come from."""

import http.server
import threading

import cv2
import numpy as np
import pytest
from PIL import Image

from m2f_mm.apis.sources import as_rgb, count_images, iter_images, read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    for name in ('b.png', 'a.png', 'deep/er/c.png', 'notes.txt'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS).save(path) if path.suffix == '.png' else path.write_text('x')
    return tmp_path


def names(source, **options):
    return [image.name for image in iter_images(source, **options)]


def test_folders_patterns_and_lists(folder):
    everything = ['a.png', 'b.png', 'deep/er/c.png']
    assert names(folder) == names(str(folder)) == everything and count_images(folder) == 3
    assert names(f'{folder}/*.png') == ['a.png', 'b.png'] and names(f'{folder}/**/*.png') == everything
    assert names(folder / 'a.png') == ['a.png']
    listed = names([folder / 'a.png', folder / 'deep', PIXELS])
    assert listed[0].endswith('a.png') and listed[1:] == ['deep/er/c.png', '2'] and '..' not in listed[0]
    assert names(iter([PIXELS, PIXELS])) == ['0', '1'] and count_images(iter([])) is None
    assert all(np.array_equal(image.read(), PIXELS) for image in iter_images(folder))


@pytest.mark.parametrize('source', ['nothing', 'nothing/*.png'])
def test_nothing_there(source, folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(FileNotFoundError, match='nothing'):
        list(iter_images(source))
    (folder / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='hold no images'):
        list(iter_images(folder / 'empty'))
    with pytest.raises(TypeError, match='int'):
        list(iter_images(3))


def test_a_missing_file_in_a_list_is_one_bad_image(folder):
    good, bad = iter_images([folder / 'a.png', folder / 'z.png'])
    assert good.read().shape == PIXELS.shape
    with pytest.raises(FileNotFoundError, match='z.png does not exist'):
        bad.read()


def test_arrays():
    bgr = PIXELS[..., ::-1]
    assert np.array_equal(as_rgb(bgr, 'x', 'bgr'), PIXELS) and np.array_equal(
        as_rgb(Image.fromarray(PIXELS), 'x'), PIXELS
    )
    grey = as_rgb(PIXELS[..., 0], 'x')
    assert grey.shape == PIXELS.shape and (grey == PIXELS[..., :1]).all()
    assert np.array_equal(as_rgb(np.concatenate((PIXELS, PIXELS[..., :1]), 2), 'x'), PIXELS)
    for wrong in (PIXELS / 255, PIXELS[None], np.zeros((0, 3, 3), np.uint8)):
        with pytest.raises(ValueError, match='image x is an array'):
            as_rgb(wrong, 'x')
    with pytest.raises(ValueError, match="order='gbr'"):
        list(iter_images(PIXELS, 'gbr'))


def test_exif_is_honoured(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    Image.fromarray(PIXELS).save(tmp_path / 'a.jpg', exif=exif, quality=100)
    assert read_image(str(tmp_path / 'a.jpg')).shape == (8, 6, 3)
    with Image.open(tmp_path / 'a.jpg') as image:
        assert as_rgb(image, 'x').shape == (8, 6, 3)


def test_broken_files(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'')
    (tmp_path / 'b.jpg').write_bytes(b'not an image')
    for image in iter_images(tmp_path):
        with pytest.raises(ValueError, match=image.name):
            image.read()


def test_videos(tmp_path):
    path = str(tmp_path / 'clip.mp4')
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'mp4v'), 5, (32, 16))
    for value in (0, 128, 255):
        writer.write(np.full((16, 32, 3), (value, 0, 0), np.uint8))  # blue
    writer.release()
    frames = list(iter_images(path))
    assert [frame.name for frame in frames] == [f'clip_{i:06d}' for i in range(3)] and count_images(path) == 3
    last = frames[2].read().reshape(-1, 3).mean(0)
    assert last[2] > 200 and last[0] < 60  # RGB


def test_addresses(folder):
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        good, bad = iter_images([f'http://127.0.0.1:{server.server_port}/{name}' for name in ('a.png', 'z.png')])
        assert good.name == 'a.png' and np.array_equal(good.read(), PIXELS)
        with pytest.raises(ValueError, match='z.png cannot be fetched'):
            bad.read()
    finally:
        server.shutdown()
