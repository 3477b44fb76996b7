"""Whether the evaluated images are those of the annotations, each once."""
from collections.abc import Container, Sequence, Sized
from typing import Any

from mmengine.logging import print_log


def require_each_once(evaluated: Sequence[Any], annotated: Container | Sized | None, file: str | None) -> None:
    """Refuse images that were predicted twice, and say how many of a file were not.

    Args:
        evaluated: ids of the images with a result.
        annotated: ids of the images of the file; None where there is no file.
        file: the annotations.

    Raises:
        ValueError: one occurs twice.
    """
    seen = set()
    twice = list(dict.fromkeys(key for key in evaluated if key in seen or seen.add(key)))
    if twice:
        raise ValueError(f'{len(twice)} of {len(seen)} images were predicted more than once: '
                         f'{", ".join(map(repr, twice[:3]))}; their objects would count twice. Is the data set '
                         'repeated, or has it ids that occur twice?')
    if annotated is not None and len(seen) < len(annotated):
        print_log(f'{file}: {len(annotated) - len(seen)} of {len(annotated)} images were not evaluated; their objects '
                  'do not count', logger='current', level=30)  # logging.WARNING
