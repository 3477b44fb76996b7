"""What the files of images say of themselves in their first bytes: size, mode, EXIF's orientation."""

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import mmcv
import numpy as np
from mmengine import fileio
from PIL import Image
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH

from .faults import Fault, raise_faults

ORIENTATION = 0x0112  # the tag of EXIF
PNG = b'\x89PNG\r\n\x1a\n'
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the kind of color in its header
MAX_COMPRESSION = 1032  # of deflate, by its construction
MISSING = 'images that do not exist'
BROKEN = 'images that cannot be read'
SIZE = 'images of another size than their annotations say'
TURN = 'images that EXIF turns without a change of size'
_NO_LIMIT = Lock()  # Pillow's limit is one for all threads
MAX_PIXELS = 30_000 * 30_000  # of an image; what announces more is taken for broken


class Header(NamedTuple):
    """The header of an image: (height, width) as it is stored, mode of Pillow, how EXIF says that it is turned, 1 to 8,
    and the format's name."""

    size: tuple[int, int]
    mode: str
    orientation: int
    format: str

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
    with _NO_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # no pixel is decoded here
        try:
            return _open_header(local, path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _open_header(local: Any, path: str) -> Header:
    try:
        with Image.open(local) as image:
            # Of a PNG Pillow's own method decodes all pixels, to see what follows them.
            exif = Image.Image.getexif(image) if image.format == 'PNG' else image.getexif()
            orientation = exif.get(ORIENTATION, 1)
            if image.format == 'PNG' and not _is_closed(local):  # cut off, or something follows
                reject_bomb(Path(local).read_bytes(), path)
                image.load()
            size = image.size
            if image.format == 'TIFF':  # which newer versions of Pillow tell as it is shown
                size = tuple(image.tag_v2.get(tag, side) for tag, side in zip((IMAGEWIDTH, IMAGELENGTH), size))
            return Header(size[::-1], image.mode, orientation if orientation in range(1, 9) else 1, image.format or '')
    except FileNotFoundError:
        raise FileNotFoundError(f'{path} does not exist') from None
    except Exception as error:  # whatever Pillow raises for broken files
        raise ValueError(f'{path} is not a readable image ({error}); is it complete?') from error


def _is_closed(png: str) -> bool:
    """Whether a PNG ends with its last chunk."""
    with open(png, 'rb') as file:
        file.seek(-12, os.SEEK_END)
        return file.read()[4:8] == b'IEND'


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
        raise ValueError(
            f'{path} is refused: its header announces {height}x{width} pixels (HxW), {size} bytes, but '
            f'the file has {len(content)}; more than {MAX_COMPRESSION} times as many, or {MAX_PIXELS} '
            'pixels, are no image. Replace it'
        )


def spread(items: Sequence, limit: int | None) -> list:
    """At most ``limit`` of some items, evenly spread; all of them for None."""
    if limit is None or len(items) <= limit:
        return list(items)
    return [items[int(i)] for i in np.linspace(0, len(items) - 1, limit)]


def size_faults(
    items: Sequence[dict],
    limit: int | None = None,
    backend_args: dict | None = None,
    files: bool = True,
    turned: bool = True,
) -> Iterator[Fault]:
    """Images that are missing, broken, or of another size than their annotations say.

    Args:
        items: with ``img_path``, ``height`` and ``width``, as data sets have them.
        limit: look at so many files at most, evenly spread.
        backend_args: of MMEngine's file client that reads the files; None for local ones.
        files: False passes over files that are missing or broken, which a loader names when their turn comes.
        turned: whether the loader turns images as EXIF says; see ``mmcv.imread``.
    """
    for item in spread(items, limit):
        for fault in image_fault(item['img_path'], (item['height'], item['width']), backend_args, turned):
            if files or fault.kind not in (MISSING, BROKEN):
                yield fault


def image_fault(
    path: str, listed: tuple[int, int], backend_args: dict | None = None, turned: bool = True
) -> Iterable[Fault]:
    """Of one image; see ``size_faults``."""
    try:
        header = read_header(path, backend_args)
    except FileNotFoundError:
        return [
            Fault(
                MISSING,
                path,
                '',
                'the file does not exist',
                'Check data_root and data_prefix, or take it out of the annotations',
            )
        ]
    except ValueError as error:
        return [
            Fault(
                BROKEN, path, '', str(error).removeprefix(f'{path} '), 'Replace it, or take it out of the annotations'
            )
        ]
    if header.size[0] * header.size[1] > MAX_PIXELS:
        return [
            Fault(
                'images of absurd size',
                path,
                '',
                f'its header announces {header.size[0]}x{header.size[1]} pixels (HxW)',
                'Replace it, or take it out of the annotations',
            )
        ]
    loaded = loaded_size(path, header, backend_args, turned)
    if loaded != listed:
        return [size_fault(path, header, loaded, listed)]
    if turned and header.orientation > 1 and header.shown_size == header.size:
        return [
            Fault(
                TURN,
                path,
                '',
                f'its EXIF orientation is {header.orientation}, which leaves the size '
                'as it is; it is taken as viewers show it',
                'Check that it was annotated so',
                fatal=False,
            )
        ]
    return []


def loaded_size(path: str, header: Header, backend_args: dict | None = None, turned: bool = True) -> tuple[int, int]:
    """Height and width of an image once a loader has read it; see ``size_faults``."""
    if not turned or header.orientation == 1:
        return header.size
    if header.size == header.shown_size or header.format == 'JPEG':
        return header.shown_size
    pixels = mmcv.imfrombytes(fileio.get(path, backend_args=backend_args))  # OpenCV's versions differ in the rest
    return header.size if pixels is None else pixels.shape[:2]


def check_image_size(results: dict) -> None:
    """Raise the error for an image that was loaded with another size than its annotation says.

    Args:
        results: of a pipeline: ``ori_shape``, and ``height`` and ``width`` of the annotation; nothing is compared where
            one of them is missing.
    """
    listed, loaded = (results.get('height'), results.get('width')), results.get('ori_shape')
    if 'frame_id' in results:  # the frames of a clip are compared when they are packed, with each other first
        return
    if None not in listed and loaded is not None and listed != tuple(loaded[:2]):
        path = results['img_path']
        try:
            header = read_header(path)
        except (OSError, ValueError):  # Pillow does not know every format of OpenCV; or the path is of another backend
            header = Header(tuple(loaded[:2]), '', 1, '')
        raise_faults([size_fault(path, header, tuple(loaded[:2]), listed)])


def size_fault(path: str, header: Header, loaded: tuple[int, int], listed: tuple[int, int]) -> Fault:
    """Of an image whose size differs from that in its annotations."""
    turned, reason = '', ''
    if loaded != header.size:
        turned = f', turned as its EXIF orientation {header.orientation} says'
    cure = 'Annotate the file as it is, or put the original image there'
    if header.orientation >= 5 and listed == loaded[::-1]:
        cure = (
            'The annotation was made without the turn of its EXIF orientation or with it twice: save the image '
            'without the tag, or annotate it as viewers show it'
        )
    elif listed == loaded[::-1]:
        reason, cure = ': height and width are swapped', 'Swap height and width in the annotation'
    elif listed[0] * loaded[1] == listed[1] * loaded[0]:
        reason = ': it was resized'
    return Fault(
        SIZE,
        path,
        '',
        f'it has {loaded[0]}x{loaded[1]} pixels (HxW){turned}, but its JSON says {listed[0]}x{listed[1]}{reason}',
        cure,
    )
