"""Panoptic PNGs and files that are either complete or absent.

A panoptic PNG stores the id of each pixel's segment as ``R + 256 G + 65536 B``; 0 is void (COCO panoptic format).
"""
import io
import json
import os
import tempfile
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError


def rgb_to_id(rgb: np.ndarray) -> np.ndarray:
    """Segment ids int32 (H, W) of an RGB picture uint8 (H, W, 3)."""
    rgb = rgb.astype(np.int32)
    return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]


def id_to_rgb(ids: np.ndarray) -> np.ndarray:
    """RGB picture uint8 (H, W, 3) of segment ids (H, W), 0 <= id < 2 ** 24."""
    if ids.size and (ids.min() < 0 or ids.max() >= 1 << 24):
        raise ValueError(f'segment ids must lie in 0..{(1 << 24) - 1} to fit into a PNG, '
                         f'got {ids.min()}..{ids.max()}')
    return np.stack([(ids >> shift) & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)


def read_panoptic_png(path: str) -> np.ndarray:
    """Segment ids int32 (H, W) of the panoptic PNG at ``path``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a readable three-channel picture.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ('RGB', 'RGBA'):
                raise ValueError(f'{path} is a picture of mode {image.mode}, but a panoptic PNG keeps its ids in RGB '
                                 f'(id = R + 256 G + 65536 B); is this a semantic label map?')
            return rgb_to_id(np.asarray(image)[..., :3])
    except FileNotFoundError:
        raise FileNotFoundError(f'panoptic PNG {path} does not exist; check data_prefix=dict(seg=...) and the '
                                f'file_name of its annotation') from None
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f'{path} cannot be read as a panoptic PNG: {error}') from error


def write_file(path: str, content: bytes) -> None:
    """Write ``path`` so that a reader sees the old file or the new one, never a part."""
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix='.', suffix='.partial')
    try:
        with os.fdopen(handle, 'wb') as stream:
            stream.write(content)
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide the file from other users of a shared folder
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_json(path: str, content: Any) -> None:
    write_file(path, json.dumps(content).encode())


def encode_png(pixels: np.ndarray) -> bytes:
    """PNG file of uint8 pixels (H, W) or (H, W, 3)."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format='PNG')
    return stream.getvalue()


def write_panoptic_png(path: str, ids: np.ndarray) -> None:
    write_file(path, encode_png(id_to_rgb(ids)))
