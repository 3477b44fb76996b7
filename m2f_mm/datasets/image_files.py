"""What the files of images say of themselves in their first bytes: size, mode, EXIF's orientation."""
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from mmengine import fileio
from PIL import Image

from .faults import Fault

ORIENTATION = 0x0112  # the tag of EXIF
PNG = b'\x89PNG\r\n\x1a\n'
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the kind of color in its header
MAX_COMPRESSION = 1032  # of deflate, by its construction
MAX_PIXELS = 30_000 * 30_000  # of an image; what announces more is taken for broken


class Header(NamedTuple):
    """The header of an image: (height, width) as it is stored, mode of Pillow, and how EXIF says that it is turned, 1 to
    8."""
    size: tuple[int, int]
    mode: str
    orientation: int

    @property
    def shown_size(self) -> tuple[int, int]:
        """The size once it is turned."""
        return self.size[::-1] if self.orientation >= 5 else self.size


def read_header(path: str, backend_args: dict | None = None) -> Header:
    """Header of an image, of which no pixel is decoded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image; names the file.
    """
    with fileio.get_local_path(path, backend_args=backend_args) as local:
        return _header(local, path)


def _header(local: Any, path: str) -> Header:
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # no pixel is decoded here
    try:
        with Image.open(local) as image:
            orientation = image.getexif().get(ORIENTATION, 1)
            return Header(image.size[::-1], image.mode, orientation if orientation in range(1, 9) else 1)
    except FileNotFoundError:
        raise FileNotFoundError(f'{path} does not exist') from None
    except Exception as error:  # whatever Pillow raises for broken files
        raise ValueError(f'{path} is not a readable image ({error}); is it complete?') from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def reject_bomb(content: bytes, path: str) -> None:
    """Look at the header of a PNG before memory is taken for its pixels.

    Args:
        content: of the file.
        path: for the message.

    Raises:
        ValueError: it announces more pixels than an image may have, or than so many bytes can hold.
    """
    if content[:8] != PNG or len(content) < 26:
        return
    width, height, bits, kind = struct.unpack('>IIBB', content[16:26])
    size = height * width * bits * PNG_CHANNELS.get(kind, 1) // 8
    if height * width > MAX_PIXELS or size > MAX_COMPRESSION * len(content) + MAX_COMPRESSION:
        raise ValueError(f'{path} is refused: its header announces {height}x{width} pixels (HxW), {size} bytes, but '
                         f'the file has {len(content)}; more than {MAX_COMPRESSION} times as many, or {MAX_PIXELS} '
                         'pixels, are no image. Replace it')


def spread(items: Sequence, limit: int | None) -> list:
    """At most ``limit`` of some items, evenly spread; all of them for None."""
    if limit is None or len(items) <= limit:
        return list(items)
    return [items[int(i)] for i in np.linspace(0, len(items) - 1, limit)]


def size_faults(items: Sequence[dict], limit: int | None = None, backend_args: dict | None = None) -> Iterator[Fault]:
    """Images that are missing, broken, or of another size than their annotations say.

    Args:
        items: with ``img_path``, ``height`` and ``width``, as data sets have them.
        limit: look at so many files at most, evenly spread.
    """
    for item in spread(items, limit):
        yield from image_fault(item['img_path'], (item['height'], item['width']), backend_args)


def image_fault(path: str, listed: tuple[int, int], backend_args: dict | None = None) -> Iterable[Fault]:
    """Of one image; see ``size_faults``."""
    try:
        header = read_header(path, backend_args)
    except FileNotFoundError:
        return [Fault('images that do not exist', path, '', 'the file does not exist',
                      'Check data_root and data_prefix, or take it out of the annotations')]
    except ValueError as error:
        return [Fault('images that cannot be read', path, '', str(error).removeprefix(f'{path} '),
                      'Replace it, or take it out of the annotations')]
    if header.size[0] * header.size[1] > MAX_PIXELS:
        return [Fault('images of absurd size', path, '', f'its header announces {header.size[0]}x{header.size[1]} pixels '
                      '(HxW)', 'Replace it, or take it out of the annotations')]
    if header.shown_size == listed:
        return []
    return [Fault('images of another size than their annotations say', path, '', size_text(header, listed), size_cure(
        header, listed))]


def size_text(header: Header, listed: tuple[int, int]) -> str:
    (height, width), turned = header.shown_size, ''
    if header.orientation != 1:
        turned = f', turned as its EXIF orientation {header.orientation} says'
    reason = ': height and width are swapped' if header.shown_size == listed[::-1] else ''
    return f'it has {height}x{width} pixels (HxW){turned}, but its annotation says {listed[0]}x{listed[1]}{reason}'


def size_cure(header: Header, listed: tuple[int, int]) -> str:
    if header.orientation >= 5 and header.size == listed:
        return ('The annotation was made without the turn: save the image without its EXIF orientation, or annotate it '
                'as it is shown')
    if header.shown_size == listed[::-1]:
        return 'Swap height and width in the annotation'
    return 'Annotate the file as it is, or put the original image there'
