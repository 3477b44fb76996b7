"""Files that announce more than they hold are refused by name, before memory is taken."""

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from m2f_mm.datasets.image_files import ORIENTATION, PNG, read_header
from m2f_mm.datasets.io import read_json, read_label_png, read_panoptic_png


def png(height, width, bits, kind, pixels=b''):
    """A PNG whose header says what it is told to."""

    def chunk(name, content):
        return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))

    header = struct.pack('>IIBBBBB', width, height, bits, kind, 0, 0, 0)
    return PNG + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(pixels)) + chunk(b'IEND', b'')


@pytest.mark.parametrize('height, width', [(60000, 60000), (2**31 - 1, 2**31 - 1), (25000, 25000), (1, 2**31 - 1)])
@pytest.mark.parametrize('bits, kind', [(8, 0), (16, 0), (8, 2), (8, 3), (8, 6), (1, 0)])
@pytest.mark.parametrize('read', [read_label_png, read_panoptic_png])
def test_headers_that_announce_too_many_pixels(read, bits, kind, height, width, tmp_path, monkeypatch):
    for module in ('cv2.imdecode', 'PIL.Image.open'):
        monkeypatch.setattr(module, lambda *_: pytest.fail('memory would be taken'))
    path = tmp_path / 'bomb.png'
    path.write_bytes(png(height, width, bits, kind, b'\0' * 10_000))
    with pytest.raises(ValueError, match=rf'bomb\.png .*{height}x{width} pixels'):
        read(str(path))


def test_images_that_compress_well_are_none(tmp_path):
    for shape in ((1, 1), (3000, 3000), (1, 30000)):
        Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / 'a.png')
        assert read_label_png(str(tmp_path / 'a.png')).shape == shape
        Image.fromarray(np.zeros((*shape, 3), np.uint8)).save(tmp_path / 'a.png')
        assert read_panoptic_png(str(tmp_path / 'a.png')).shape == shape


@pytest.mark.parametrize('text', ['[' * 10**6, '{"images":' * 10**5, '[' * 10**5 + ']' * 10**5])
def test_deeply_nested_json(text, tmp_path):
    path = tmp_path / 'nested.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=r'nested\.json'):
        read_json(str(path), 'panoptic', 'COCO', ('images',))


@pytest.mark.parametrize('turn', [1, 6])
@pytest.mark.parametrize('suffix', ['png', 'jpg', 'webp', 'tif'])
def test_headers_are_read_without_a_pixel(tmp_path, monkeypatch, suffix, turn):
    """Pillow's ``getexif`` of a PNG decodes it, which took memory for 60000 x 60000 pixels."""
    path = tmp_path / f'a.{suffix}'
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    Image.fromarray(np.zeros((30, 20, 3), np.uint8)).save(path, exif=exif)
    monkeypatch.setattr('PIL.ImageFile.ImageFile.load', lambda *_: pytest.fail('pixels would be decoded'))
    assert read_header(str(path))[::2] == ((30, 20), turn)


def test_headers_in_several_threads_leave_the_limit(tmp_path):
    (tmp_path / 'bomb.png').write_bytes(png(60000, 60000, 8, 2))
    limit = Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(8) as threads:
        assert {header.size for header in threads.map(read_header, [str(tmp_path / 'bomb.png')] * 100)} == {
            (60000, 60000)
        }
    assert Image.MAX_IMAGE_PIXELS == limit


def test_a_png_without_its_end_is_decoded(tmp_path):
    """Which a loader would do last, in the middle of a training."""
    Image.fromarray(np.random.RandomState(0).randint(0, 255, (40, 50, 3), np.uint8)).save(tmp_path / 'a.png')
    content = (tmp_path / 'a.png').read_bytes()
    for count in (-12, -100, 60, 45):
        (tmp_path / 'b.png').write_bytes(content[:count])
        if count == -12:  # no pixel is missing
            assert read_header(str(tmp_path / 'b.png')).size == (40, 50)
            continue
        with pytest.raises(ValueError, match=r'b\.png is not a readable image'):
            read_header(str(tmp_path / 'b.png'))
    (tmp_path / 'c.png').write_bytes(content + b'trailing')
    assert read_header(str(tmp_path / 'c.png')).size == (40, 50)
    (tmp_path / 'd.png').write_bytes(png(60000, 60000, 8, 2)[:-12])
    with pytest.raises(ValueError, match=r'd\.png is refused: its header announces 60000x60000'):
        read_header(str(tmp_path / 'd.png'))
