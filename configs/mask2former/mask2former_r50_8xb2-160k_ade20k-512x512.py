# mIoU 47.2 (single scale), 49.2 (multi-scale and flip) published (official model zoo, 47429167_5); not re-run by us.
_base_ = [
    '../_base_/models/mask2former_r50_mmseg.py',
    '../_base_/datasets/ade20k_semantic.py',
    '../_base_/schedules/poly_160k.py',
    '../_base_/mmseg_runtime.py',
]
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}), decode_head=dict(metainfo={{_base_.dataset_type}})
)  # 150 classes
tta_model = dict(type='m2f_mm.SegTTAModel')
