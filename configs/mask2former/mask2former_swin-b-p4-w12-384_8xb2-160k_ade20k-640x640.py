# mIoU 52.4 (single scale), 53.7 (multi-scale and flip) published (official model zoo, 48333153_5); not re-run by us.
_base_ = [
    '../_base_/models/mask2former_r50_mmseg.py',
    '../_base_/backbones/swin-b-p4-w12-384.py',
    '../_base_/datasets/ade20k_semantic_640.py',
    '../_base_/schedules/poly_160k.py',
    '../_base_/mmseg_runtime.py',
]
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}),
    backbone=dict(_delete_=True, **_base_.backbone),
    decode_head=dict(metainfo={{_base_.dataset_type}}, in_channels=_base_.in_channels),
)  # 150 classes
tta_model = dict(type='m2f_mm.SegTTAModel')
