# mIoU 12.4 published (official model zoo, 40986914_5); not re-run by us.
_base_ = [
    '../_base_/models/per_pixel_r50_mmseg.py',
    '../_base_/datasets/ade20k_full.py',
    '../_base_/schedules/maskformer_200k.py',
    '../_base_/mmseg_runtime.py',
]
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}), decode_head=dict(metainfo={{_base_.dataset_type}})
)  # 847 classes
tta_model = dict(type='m2f_mm.SegTTAModel')
