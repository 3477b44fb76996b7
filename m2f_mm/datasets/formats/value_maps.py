"""Files whose pixels name classes: by a number, by a place in a palette, or by a color."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from mmengine import fileio
from PIL import Image

from ..image_files import reject_bomb
from ..label_maps import WrongLabelMap, read_label_map

IGNORED = -1  # the label of values that are no class
_LOSSY = ('JPEG', 'MPO', 'WEBP')


@dataclass
class ValueTable:
    """What the values of label maps mean.

    Args:
        labels: label of each value, ``IGNORED`` for those that are no class. A color is the number
            65536 R + 256 G + B.
        colored: whether values are colors.
        gray: whether files are RGB images whose channels are equal, and values are those of a channel.
    """

    labels: dict[int, int]
    colored: bool = False
    gray: bool = False

    def read_values(self, path: str) -> np.ndarray:
        """Values (H, W) of a file.

        Raises:
            FileNotFoundError, WrongLabelMap: as ``read_label_map``.
        """
        if self.colored:
            return read_colors(path)
        return read_colors(path) & 255 if self.gray else read_label_map(path)

    def read_labels(self, path: str, ignore_index: int) -> np.ndarray:
        """Labels int32 (H, W) of a file, ``ignore_index`` where there is no class.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it cannot be read, or has a value that no class has.
        """
        values = self.read_values(path)
        distinct, places = np.unique(values, return_inverse=True)
        unknown = [value for value in distinct.tolist() if value not in self.labels]
        if unknown:
            raise ValueError(f'{path} has {shown_values(unknown, self.colored)}, which no class has')
        labels = [self.labels[value] for value in distinct.tolist()]
        labels = np.array([ignore_index if label == IGNORED else label for label in labels], np.int32)
        return labels[places.reshape(values.shape)]


def read_colors(path: str) -> np.ndarray:
    """Colors int32 (H, W), 65536 R + 256 G + B, of an RGB image, or of one with a palette.

    Raises:
        FileNotFoundError: there is no such file.
        WrongLabelMap: it is broken, lossy, or of another kind; a ``ValueError``.
    """
    content = fileio.get(path)
    try:
        reject_bomb(content, path)
        with Image.open(io.BytesIO(content)) as image:
            form, mode = image.format, image.mode
            pixels = np.asarray(image.convert('RGB'), np.int32)
    except Exception as error:  # whatever Pillow raises for broken files
        raise WrongLabelMap(
            path, 'label maps that cannot be read', f'cannot be read ({error})', 'Replace it, or take the image out'
        ) from error
    if form in _LOSSY:
        raise WrongLabelMap(
            path,
            f'label maps in {form} files',
            f'is a {form} file',
            f'{form} changes values along borders, so labels are lost: export the label maps as PNG',
        )
    if mode not in ('RGB', 'RGBA', 'P', 'L', '1'):
        raise WrongLabelMap(
            path, f'label maps of mode {mode}', f'is an image of mode {mode}, not of colors', 'Export it as an RGB PNG'
        )
    return pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]


def count_values(values: np.ndarray) -> dict[int, int]:
    """Pixels of each value."""
    distinct, counts = np.unique(values, return_counts=True)
    return dict(zip(distinct.tolist(), counts.tolist()))


def color_of(value: int) -> tuple[int, int, int]:
    """R, G and B of a color's number."""
    return value >> 16, value >> 8 & 255, value & 255


def color_number(color: tuple[int, int, int]) -> int:
    """The number of a color."""
    return color[0] << 16 | color[1] << 8 | color[2]


def shown_values(values: list[int], colored: bool, limit: int = 8) -> str:
    """Some values, for a message."""
    what = 'the color' if colored else 'the value'
    text = ', '.join(str(color_of(value) if colored else value) for value in values[:limit])
    return f'{what}{"s" if len(values) > 1 else ""} {text}' + (', ...' if len(values) > limit else '')


def share(counts: Mapping[int, int], value: int) -> str:
    """Share of the pixels that have a value, as text."""
    part = counts.get(value, 0) / max(sum(counts.values()), 1)
    return f'{part:.1%}' if part >= 0.001 or not part else f'{part:.1g} of all'
