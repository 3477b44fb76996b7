"""``custom_imports = dict(imports=['m2f_mm.dropin'])``: this package's classes under the stock names.

An unchanged Mask2Former or MaskFormer config of MMDetection or MMSegmentation then runs on this package; checkpoints
stay valid. Beside detectors and heads these are the data sets, loaders and metrics that such configs name: annotations
are checked, and panoptic ones need no ``panopticapi``. ``EncoderDecoder`` is MMSegmentation's own, takes images of
different sizes in a batch, too, and freezes what its backbone's ``frozen_stages`` says before workers are set up.
"""

from importlib.util import find_spec

from m2f_mm import integrations

if find_spec('mmdet') is not None:
    # The stock classes are registered first, so that nothing overwrites ours later.
    import mmdet.datasets
    import mmdet.evaluation
    import mmdet.models  # noqa: F401
    from mmdet import registry as _mmdet

    from m2f_mm import datasets, evaluation
    from m2f_mm.integrations.mmdet_datasets import check_stock_types

    check_stock_types()
    _OURS = {
        _mmdet.MODELS: (
            integrations,
            (
                'Mask2FormerHead',
                'MaskFormerHead',
                'MaskFormerFusionHead',
                'Mask2FormerTrackHead',
                'Mask2Former',
                'Mask2FormerVideo',
            ),
        ),
        _mmdet.METRICS: (integrations, ('CocoMetric',)),
    }
    for _registry, (_package, _names) in _OURS.items():
        for _name in _names:
            _registry.register_module(name=_name, module=getattr(_package, _name), force=True)
    _mmdet.MODELS.register_module(name='MaskFormer', module=integrations.Mask2Former, force=True)
    _mmdet.DATASETS.register_module(name='CocoPanopticDataset', module=datasets.CocoPanopticDataset, force=True)
    _mmdet.TRANSFORMS.register_module(
        name='LoadPanopticAnnotations', module=datasets.LoadPanopticAnnotations, force=True
    )
    _mmdet.METRICS.register_module(name='CocoPanopticMetric', module=evaluation.PanopticMetric, force=True)
    _mmdet.METRICS.register_module(name='YouTubeVISMetric', module=evaluation.YouTubeVISMetric, force=True)

if find_spec('mmseg') is not None:
    import mmseg.models  # noqa: F401
    from mmseg.registry import MODELS as _MMSEG_MODELS

    from m2f_mm.integrations.mmseg import EncoderDecoder

    for _name, _module in (
        ('Mask2FormerHead', integrations.Mask2FormerSegHead),
        ('MaskFormerHead', integrations.MaskFormerSegHead),
        ('EncoderDecoder', EncoderDecoder),
    ):
        _MMSEG_MODELS.register_module(name=_name, module=_module, force=True)
