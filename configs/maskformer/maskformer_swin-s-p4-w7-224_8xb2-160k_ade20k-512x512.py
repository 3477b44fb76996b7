# mIoU 49.8 (single scale), 51.0 (multi-scale and flip) published (official model zoo, 40846700_5); not re-run by us.
_base_ = [
    '../_base_/models/maskformer_r50_mmseg.py',
    '../_base_/backbones/swin-s-p4-w7-224.py',
    '../_base_/datasets/ade20k_semantic.py',
    '../_base_/schedules/maskformer_160k_swin.py',
    '../_base_/mmseg_runtime.py',
]
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}),
    backbone=dict(_delete_=True, **_base_.backbone),
    decode_head=dict(metainfo={{_base_.dataset_type}}, in_channels=_base_.in_channels),
)  # 150 classes
tta_model = dict(type='m2f_mm.SegTTAModel')
