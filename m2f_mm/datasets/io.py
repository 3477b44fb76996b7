"""Annotations read with errors that name the file, and files written whole or not at all."""

import io
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import cv2
import numpy as np
from mmengine import fileio
from PIL import Image

from .id_map import bgr_to_id, id_to_rgb, rgb_to_id
from .image_files import reject_bomb

_EIGHT_BIT_COLORS = (b'\x08\x02', b'\x08\x06')  # depth and kind in the header of a PNG: RGB, RGBA


def read_json(path: str, kind: str, form: str, needs: Sequence[str], backend_args: dict | None = None) -> dict:
    """The JSON at ``path``, which must hold the lists that are needed.

    Args:
        path: of the file.
        kind: of annotations, for errors.
        form: the name of the format, for errors.
        needs: keys of lists.
        backend_args: how to read files, see ``mmengine.fileio``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or a list is missing.
    """
    try:
        content = json.loads(fileio.get(path, backend_args=backend_args))
    except FileNotFoundError:
        raise FileNotFoundError(f'{kind} annotations {path} do not exist; check data_root and ann_file') from None
    except (ValueError, RecursionError) as error:  # JSONDecodeError, UnicodeDecodeError; brackets without end
        raise ValueError(f'{path} is not valid JSON ({error}); is it complete?') from error
    missing = [key for key in needs if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        raise ValueError(f'{path} has no list {", ".join(missing)}, so it is not in {form}')
    return content


def read_panoptic_json(
    path: str, backend_args: dict | None = None, needs: Sequence[str] = ('images', 'annotations', 'categories')
) -> dict:
    """The COCO panoptic JSON at ``path``; see ``read_json``."""
    return read_json(
        path, 'panoptic', 'COCO panoptic format (https://cocodataset.org/#format-data)', needs, backend_args
    )


def read_panoptic_png(path: str, backend_args: dict | None = None) -> np.ndarray:
    """Segment ids int32 (H, W) of the panoptic PNG at ``path``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a readable three-channel image.
    """
    try:
        content = fileio.get(path, backend_args=backend_args)
    except FileNotFoundError:
        raise FileNotFoundError(
            f'panoptic PNG {path} does not exist; check data_prefix=dict(seg=...) and the file_name of its annotation'
        ) from None
    reject_bomb(content, path)
    if content[:8] == b'\x89PNG\r\n\x1a\n' and content[24:26] in _EIGHT_BIT_COLORS:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if bgr is not None:
            return bgr_to_id(bgr)
    try:  # slower than OpenCV, but says what is wrong
        with Image.open(io.BytesIO(content)) as image:
            mode, pixels = image.mode, np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # of broken files
        raise ValueError(f'{path} cannot be read as a panoptic PNG: {error}') from error
    if mode not in ('RGB', 'RGBA'):
        raise ValueError(
            f'{path} is an image of mode {mode}, but a panoptic PNG keeps its ids in RGB '
            f'(id = R + 256 G + 65536 B); is it a semantic label map?'
        )
    return rgb_to_id(pixels[..., :3])


def read_label_png(path: str, backend_args: dict | None = None) -> np.ndarray:
    """Labels uint8 (H, W) of a grey or palette image.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is broken, or an image of another kind.
    """
    try:
        content = fileio.get(path, backend_args=backend_args)
        reject_bomb(content, path)
        with Image.open(io.BytesIO(content)) as image:
            mode, pixels = image.mode, np.asarray(image)
    except FileNotFoundError:
        raise FileNotFoundError(f'label map {path} does not exist') from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # of broken files
        raise ValueError(f'{path} cannot be read as a label map: {error}') from error
    if mode not in ('L', 'P'):
        raise ValueError(f'{path} is an image of mode {mode}, but labels are of mode L or P')
    return pixels


def write_file(path: str, content: bytes) -> None:
    """Write ``path`` so that a reader sees the old file or the new one, never a part. A link is replaced, not followed.

    Raises:
        OSError: it cannot be written; names the path.
    """
    folder = os.path.dirname(os.path.abspath(path))
    temporary = None
    try:
        os.makedirs(folder, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix='.', suffix='.partial')
        with os.fdopen(handle, 'wb') as stream:
            stream.write(content)
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide the file from other users of a shared folder
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise type(error)(error.errno, f'{path} cannot be written: {error.strerror}') from error
        raise


def inside(folder: str, name: str, record: str) -> str:
    """Where a file lies, or is to be written, whose name comes from a data set.

    Args:
        folder: that it belongs into.
        name: relative to it.
        record: file and record that say the name, for errors.

    Raises:
        ValueError: the name leads out of the folder, on this system or on another, or through a link in it.
    """
    windows = PureWindowsPath(name)
    if (
        not name.strip()
        or '\0' in name
        or PurePosixPath(name).is_absolute()
        or windows.drive
        or windows.root
        or '..' in windows.parts
    ):
        raise ValueError(
            f'{record}: the file name {name!r} leads out of its folder; nothing is written. Write it '
            'relative to the folder that the config names, without ..'
        )
    path = os.path.join(folder, *PurePosixPath(name.replace('\\', '/')).parts)
    top = os.path.realpath(folder)
    if not _within(os.path.realpath(os.path.dirname(path)), top):
        raise ValueError(f'{record}: {path} leads out of {folder} by a link; nothing is written')
    return path


def refuse_inputs(outputs: Sequence[str], inputs: Sequence[str], option: str, around: bool = True) -> None:
    """Refuse to write over what is read, or to mix what is written with it in one folder; links and hard links count as
    their files.

    Args:
        outputs: files or folders that would be written.
        inputs: files or folders that are read.
        option: where the outputs are named, for errors.
        around: refuse a folder that holds an input, too.

    Raises:
        ValueError: one of the outputs is an input, lies in the folder of one, or is a folder that holds one.
    """
    for output in outputs:
        for given in filter(None, inputs):
            written, read = os.path.realpath(output), os.path.realpath(given)
            there = os.path.exists(written) and os.path.exists(read)
            if written == read or there and os.path.samefile(written, read):
                relation = 'is'
            elif os.path.isdir(read) and _within(written, read):
                relation = 'lies in'
            elif around and _within(read, written):
                relation = 'holds'
            else:
                continue
            raise ValueError(
                f'{option} would write {output}, which {relation} {given}, and that is read as data. '
                'Choose another place'
            )


class DistinctFiles:
    """Files that are named after their images: those of images that have one name, in several folders, stay apart."""

    def __init__(self):
        self._images: dict[str, str] = {}  # by the file

    def path(self, path: str, image: str) -> str:
        """``path`` or, where it is that of another image, ``path`` below folders that are called as those of the image.

        Raises:
            ValueError: the file would be the image itself.
        """
        folder, name = os.path.split(path)
        parents = Path(os.path.abspath(image)).parts[1:-1]
        for depth in range(len(parents) + 1):
            chosen = os.path.join(folder, *parents[len(parents) - depth :], name)
            if self._images.setdefault(chosen, image) == image:
                break
        refuse_inputs([chosen], [image], 'the folder of results')
        return chosen


def _within(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


def write_json(path: str, content: Any) -> None:
    """Write a JSON, whole or not at all."""
    write_file(path, json.dumps(content).encode())


def encode_png(pixels: np.ndarray) -> bytes:
    """PNG file of uint8 pixels (H, W) or (H, W, 3)."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format='PNG')
    return stream.getvalue()


def write_image(path: str, pixels: np.ndarray) -> None:
    """Write RGB uint8 (H, W, 3) in the format that the suffix of ``path`` names."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=Image.registered_extensions()[os.path.splitext(path)[1].lower()])
    write_file(path, stream.getvalue())


def write_panoptic_png(path: str, ids: np.ndarray) -> None:
    """Write segment ids (H, W) as a panoptic PNG, whole or not at all."""
    write_file(path, encode_png(id_to_rgb(ids)))
