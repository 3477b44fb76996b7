"""The only room that knows the data samples of MMDetection and MMSegmentation; each part needs its own stack alone."""
from importlib.util import find_spec

if find_spec('mmdet') is not None:
    from .mmdet import Mask2Former, Mask2FormerHead, MaskFormerFusionHead  # noqa: F401
if find_spec('mmseg') is not None:
    from .mmseg import Mask2FormerSegHead, MaskSegmentor, SegTTAModel  # noqa: F401
