"""ImageNet weights of backbones by name: ``init_cfg=dict(type='Pretrained', checkpoint='m2f_mm://resnet50')``."""
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from .sources import backbone_to_ours

SCHEME = 'm2f_mm://'
FOLDER_VARIABLE = 'M2F_MM_WEIGHTS'


class Source(NamedTuple):
    """A public file of weights.

    ``read`` makes OpenMMLab's names of what the file holds.
    """
    url: str
    origin: str
    read: Callable[[dict], dict] = dict

    @property
    def file_name(self) -> str:
        return self.url.rpartition('/')[2]


def read_swin(content: dict) -> dict[str, Tensor]:
    return backbone_to_ours(content['model'])


SWIN = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
# The official models start from torchvision's first weights (detectron2's R-50.pkl are the same numbers).
SOURCES = dict(
    resnet50=Source('https://download.pytorch.org/models/resnet50-0676ba61.pth', 'torchvision, IMAGENET1K_V1'),
    resnet101=Source('https://download.pytorch.org/models/resnet101-63fe2227.pth', 'torchvision, IMAGENET1K_V1'),
    **{
        name: Source(f'{SWIN}{name}.pth', f'microsoft/Swin-Transformer, {origin}', read_swin)
        for name, origin in (('swin_tiny_patch4_window7_224', 'ImageNet-1k'),
                             ('swin_small_patch4_window7_224', 'ImageNet-1k'),
                             ('swin_base_patch4_window12_384', 'ImageNet-1k'),
                             ('swin_base_patch4_window12_384_22k', 'ImageNet-22k'),
                             ('swin_large_patch4_window12_384_22k', 'ImageNet-22k'))
    })


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_backbone(name: str, map_location: str | None = None) -> dict:
    """Weights of a backbone: from the folder that ``M2F_MM_WEIGHTS`` names, from torch's cache, or downloaded.

    Args:
        name: ``m2f_mm://`` and a key of ``SOURCES``.
        map_location: as for ``torch.load``.

    Raises:
        ValueError: for an unknown name; lists the known ones.
        FileNotFoundError: where the file is neither there nor to be had; says where to put it and which option takes
            a local path.
    """
    key = name[len(SCHEME):]
    if key not in SOURCES:
        raise ValueError(f'{name} is unknown; this package knows {", ".join(SCHEME + known for known in SOURCES)}. '
                         'A path to a file is accepted as well')
    source = SOURCES[key]
    folders = [os.environ.get(FOLDER_VARIABLE), Path(torch.hub.get_dir()) / 'checkpoints']
    for folder in folders:
        if folder and (Path(folder) / source.file_name).is_file():
            return source.read(torch.load(Path(folder) / source.file_name, map_location=map_location,
                                          weights_only=True))
    try:
        return source.read(CheckpointLoader.load_checkpoint(source.url, map_location=map_location))
    except OSError as error:
        raise FileNotFoundError(
            f'The backbone weights {source.file_name} ({source.origin}) cannot be fetched from {source.url}: {error}. '
            f'Get the file by other means and put it into a folder that the variable {FOLDER_VARIABLE} names, or pass '
            f'its path: --cfg-options model.backbone.init_cfg.checkpoint=/path/to/{source.file_name}. To train from '
            'scratch: --cfg-options model.backbone.init_cfg=None, and a norm that learns in place of FrozenBN, such as '
            'norm_cfg=dict(_delete_=True, type="GN", num_groups=32)') from error
