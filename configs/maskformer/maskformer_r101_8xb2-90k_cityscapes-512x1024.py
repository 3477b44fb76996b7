# mIoU 78.5 (single scale), 80.3 (multi-scale and flip) published (official model zoo, 41127351_1); not re-run by us.
_base_ = [
    '../_base_/models/maskformer_r50_mmseg.py',
    '../_base_/datasets/cityscapes_semantic.py',
    '../_base_/schedules/maskformer_90k.py',
    '../_base_/mmseg_runtime.py',
]
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}),
    backbone=dict(depth=101, init_cfg=dict(checkpoint='m2f_mm://resnet101')),
    decode_head=dict(metainfo={{_base_.dataset_type}}),
)  # 19 classes
tta_model = dict(type='m2f_mm.SegTTAModel')
