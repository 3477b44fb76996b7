"""``custom_imports = dict(imports=['m2f_mm.dropin'])``: this package's classes under the stock names.

An unchanged Mask2Former or MaskFormer config of MMDetection or MMSegmentation then runs on this package; checkpoints
stay valid.
"""
from importlib.util import find_spec

from m2f_mm import integrations

if find_spec('mmdet') is not None:
    import mmdet.models  # noqa: F401  registers the stock classes first, so that nothing overwrites ours later
    from mmdet.registry import MODELS as MMDET_MODELS

    for _name in ('Mask2FormerHead', 'MaskFormerHead', 'MaskFormerFusionHead', 'Mask2FormerTrackHead'):
        MMDET_MODELS.register_module(name=_name, module=getattr(integrations, _name), force=True)

if find_spec('mmseg') is not None:
    import mmseg.models  # noqa: F401
    from mmseg.registry import MODELS as MMSEG_MODELS

    MMSEG_MODELS.register_module(name='Mask2FormerHead', module=integrations.Mask2FormerSegHead, force=True)
    MMSEG_MODELS.register_module(name='MaskFormerHead', module=integrations.MaskFormerSegHead, force=True)
