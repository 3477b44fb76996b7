"""Where images come from: files, folders, patterns, addresses, arrays, videos, cameras.

They are read one after the other, when they are needed, so that memory does not grow with their number.
"""

import glob
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import cv2
import numpy as np
from mmengine import fileio
from PIL import Image, ImageOps

from m2f_mm.datasets.image_files import MAX_PIXELS, reject_bomb

from .video_files import IMAGES, open_video

VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv')
ORDERS = ('rgb', 'bgr')


class SourceImage(NamedTuple):
    """An image to predict.

    Args:
        name: its path below the folder or pattern that was given; of a frame or an array a number.
        path: of its file; None where it has none.
        read: makes its pixels, RGB uint8 (H, W, 3); raises ValueError or OSError, which name the image.
    """

    name: str
    path: str | None
    read: Any  # a function without arguments


class BadImage(NamedTuple):
    """An image that could not be read."""

    name: str
    error: str


def iter_images(source: Any, order: str = 'rgb') -> Iterator[SourceImage]:
    """The images of a source, in a stable order.

    Args:
        source: one of

            - the path of an image; of a folder, whose images are taken with those of the folders in it; a pattern with
              ``*``, ``?`` or ``[...]``, ``**`` for folders in folders; an ``http`` or ``https`` address of an image;
            - the path of a video, of which every frame is an image, or ``camera:0`` (number of the camera);
            - an array (H, W, 3), (H, W, 1) or (H, W), uint8, a PIL image, or a path-like object;
            - a list, tuple, generator or data loader of any of these.
        order: of the channels of arrays, 'rgb' (as PIL, matplotlib and scikit-image have them) or 'bgr' (OpenCV).

    Raises:
        FileNotFoundError: there is no such file, or no image in a folder or behind a pattern.
        TypeError: the source is of another type.
        ValueError: ``order`` is neither.
    """
    if order not in ORDERS:
        raise ValueError(f"order={order!r}: the channels of arrays are 'rgb' or 'bgr'")
    if isinstance(source, str | os.PathLike):
        yield from _of_text(os.fspath(source))
    elif isinstance(source, np.ndarray | Image.Image):
        yield _of_pixels(source, '0', order)
    elif isinstance(source, Iterable):
        yield from _of_iterable(source, order)
    else:
        raise TypeError(
            f'images cannot be taken from a {type(source).__name__}: give a path, a folder, a pattern, an address, an '
            'array, a PIL image, or an iterable of these'
        )


def count_images(source: Any) -> int | None:
    """How many images a source has, where that is known before it is read; None otherwise."""
    if isinstance(source, np.ndarray | Image.Image):
        return 1
    if isinstance(source, list | tuple):
        counts = [count_images(each) for each in source]
        return None if None in counts else sum(counts)
    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        if _is_camera(text):
            return None
        if Path(text).suffix.lower() in VIDEOS and os.path.isfile(text):
            return open_video(text).length
        return 1 if _is_address(text) or os.path.isfile(text) else len(_files(text))
    return None


def _is_address(text: str) -> bool:
    return text.startswith(('http://', 'https://'))


def _is_camera(text: str) -> bool:
    return re.fullmatch(r'camera:\d+', text) is not None


def _of_text(text: str) -> Iterator[SourceImage]:
    if _is_address(text):
        yield SourceImage(PurePosixPath(urlsplit(text).path).name or 'image', text, lambda: _read_address(text))
    elif _is_camera(text):
        yield from _of_camera(int(text.partition(':')[2]))
    elif os.path.isfile(text):
        if Path(text).suffix.lower() in VIDEOS:
            yield from _of_video(text)
        else:
            yield _of_file(text, os.path.basename(text))
    else:
        root = text if os.path.isdir(text) else _fixed_part(text)
        for path in _files(text):
            yield _of_file(path, os.path.relpath(path, root).replace(os.sep, '/'))


def _files(text: str) -> list[str]:
    """The images in a folder and in those inside of it, or behind a pattern, sorted."""
    if os.path.isdir(text):
        paths = [
            os.path.join(folder, name)
            for folder, _, names in os.walk(text)
            for name in names
            if name.lower().endswith(IMAGES)
        ]
        what = f'{text} and the folders in it hold no images ({", ".join(IMAGES)})'
    elif glob.has_magic(text):
        paths = [path for path in glob.glob(text, recursive=True) if path.lower().endswith(IMAGES)]
        what = f'the pattern {text!r} fits no image ({", ".join(IMAGES)})'
    else:
        paths, what = [], f'there is no file, folder or address {text!r} (looked in {os.getcwd()})'
    if not paths:
        raise FileNotFoundError(what)
    return sorted(paths)


def _fixed_part(pattern: str) -> str:
    """The folder in front of the first part of a pattern that is not fixed."""
    parts = Path(pattern).parts
    fixed = next((place for place, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return str(Path(*parts[:fixed])) if fixed else '.'


def _of_file(path: str, name: str) -> SourceImage:
    return SourceImage(name, path, lambda: read_image(path))


def _of_pixels(pixels: Any, name: str, order: str) -> SourceImage:
    return SourceImage(name, None, lambda: as_rgb(pixels, name, order))


def _of_iterable(source: Iterable, order: str) -> Iterator[SourceImage]:
    for index, each in enumerate(source):
        if isinstance(each, np.ndarray | Image.Image):
            yield _of_pixels(each, str(index), order)
            continue
        path = os.fspath(each) if isinstance(each, str | os.PathLike) else ''
        if path and not (os.path.isdir(path) or _is_address(path) or _is_camera(path) or glob.has_magic(path)):
            name = '/'.join(part for part in Path(path).parts if part not in (Path(path).anchor, '.', '..'))
            if os.path.isfile(path) and Path(path).suffix.lower() in VIDEOS:
                yield from _of_video(path)
            else:  # also a file that does not exist: one bad image among others
                yield _of_file(path, name)
            continue
        folder = f'{os.path.basename(os.path.abspath(path))}/' if path and os.path.isdir(path) else ''
        for image in iter_images(each, order):
            yield image._replace(name=folder + image.name)


def _of_video(path: str) -> Iterator[SourceImage]:
    stem = Path(path).stem
    for index, frame in enumerate(open_video(path)):
        yield SourceImage(f'{stem}_{index:06d}', None, lambda frame=frame: np.ascontiguousarray(frame[..., ::-1]))


def _of_camera(number: int) -> Iterator[SourceImage]:
    camera = cv2.VideoCapture(number)
    with closing(_Released(camera)):
        if not camera.isOpened():
            raise FileNotFoundError(f'camera:{number} cannot be opened; is it connected, and in no other use?')
        index = 0
        while True:
            taken, frame = camera.read()
            if not taken:
                return
            yield SourceImage(f'camera{number}_{index:06d}', None, lambda frame=frame: frame[..., ::-1].copy())
            index += 1


class _Released:
    """A camera or video that is released when it is closed."""

    def __init__(self, capture: cv2.VideoCapture):
        self.capture = capture

    def close(self) -> None:
        self.capture.release()


def read_image(path: str) -> np.ndarray:
    """The image of a file, RGB uint8 (H, W, 3), turned as EXIF says.

    Grey, palette, transparent and 16-bit images become RGB with 8 bits; what is transparent keeps its colors.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no readable image; names it.
    """
    try:
        content = fileio.get(path)
    except IsADirectoryError:
        raise ValueError(f'{path} is a folder') from None
    except FileNotFoundError:
        raise FileNotFoundError(f'{path} does not exist') from None
    return _decoded(content, path)


def _read_address(address: str) -> np.ndarray:
    try:
        content = fileio.get(address)
    except OSError as error:
        raise ValueError(f'{address} cannot be fetched: {error}') from error
    return _decoded(content, address)


def _decoded(content: bytes, name: str) -> np.ndarray:
    reject_bomb(content, name)
    if not content:
        raise ValueError(f'{name} is empty')
    # OpenCV turns an image as EXIF says, and so does the loader of trainings.
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f'{name} is not a readable image; is it complete? Replace it, or leave it out')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def as_rgb(pixels: np.ndarray | Image.Image, name: str, order: str = 'rgb') -> np.ndarray:
    """An array or a PIL image as RGB uint8 (H, W, 3).

    Args:
        pixels: uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), whose fourth channel is left out; or a PIL image, which
            is turned as its EXIF says.
        name: for errors.
        order: of the channels of an array.

    Raises:
        ValueError: the array has another shape or type, or no pixel.
    """
    if isinstance(pixels, Image.Image):
        return np.asarray(ImageOps.exif_transpose(pixels).convert('RGB'))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or not pixels.size:
        raise ValueError(
            f'image {name} is an array {pixels.shape} of {pixels.dtype}: give uint8 values in 0..255, (H, W, 3), '
            '(H, W, 4) or (H, W)'
        )
    if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS:
        raise ValueError(f'image {name} has {pixels.shape[0]} x {pixels.shape[1]} pixels, more than {MAX_PIXELS}')
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, 2)
    pixels = pixels[..., :3]
    return np.ascontiguousarray(pixels if order == 'rgb' else pixels[..., ::-1])
