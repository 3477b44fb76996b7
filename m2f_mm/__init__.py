"""Mask-classification segmentation (Mask2Former and its family) for MMDetection 3.x and MMSegmentation 1.x.

Importing the package creates the registries of the scope ``m2f_mm``, and does what ``compatibility`` says; the modules
behind the registries are imported when a config first asks for one of them.
"""

from . import registry
from .apis import config_path
from .compatibility import allow_checkpoint_types, resize_any_image
from .version import __version__

__all__ = ['Segmenter', '__version__', 'config_path', 'registry']

allow_checkpoint_types()
resize_any_image()


def __getattr__(name: str) -> type:
    """``Segmenter``, which imports a whole stack, when it is first asked for."""
    if name == 'Segmenter':
        from .apis.segmenter import Segmenter

        return Segmenter
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
