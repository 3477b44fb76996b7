# mIoU 79.8 published (official model zoo); not re-run by us.
_base_ = [
    '../_base_/models/mask_dino_r50_mmseg.py',
    '../_base_/datasets/cityscapes_semantic.py',
    '../_base_/schedules/mask_dino_90k.py',
    '../_base_/mmseg_runtime.py',
]
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}),
    backbone=dict(norm_cfg=dict(_delete_=True, type='SyncBN', requires_grad=True)),
    decode_head=dict(metainfo={{_base_.dataset_type}}),
)  # 19 classes
tta_model = dict(type='m2f_mm.SegTTAModel')
