# mIoU 32.4 (single scale), 34.4 (multi-scale and flip) published (official model zoo, 40941321_0); not re-run by us.
_base_ = [
    '../_base_/models/per_pixel_r50_mmseg.py',
    '../_base_/datasets/coco_stuff10k.py',
    '../_base_/schedules/maskformer_60k.py',
    '../_base_/mmseg_runtime.py',
]
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}), decode_head=dict(metainfo={{_base_.dataset_type}})
)  # 171 classes
tta_model = dict(type='m2f_mm.SegTTAModel')
