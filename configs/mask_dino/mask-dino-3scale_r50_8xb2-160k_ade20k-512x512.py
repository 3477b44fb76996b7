# mIoU 48.7 published (official model zoo); not re-run by us.
_base_ = [
    '../_base_/models/mask_dino_r50_mmseg.py',
    '../_base_/datasets/ade20k_semantic.py',
    '../_base_/schedules/mask_dino_160k.py',
    '../_base_/mmseg_runtime.py',
]
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}), decode_head=dict(metainfo={{_base_.dataset_type}})
)  # 150 classes
tta_model = dict(type='m2f_mm.SegTTAModel')
