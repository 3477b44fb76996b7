# mIoU 37.1 (single scale), 38.9 (multi-scale and flip) published (official model zoo, 40941321_6); not re-run by us.
_base_ = [
    '../_base_/models/maskformer_r50_mmseg.py',
    '../_base_/datasets/coco_stuff10k.py',
    '../_base_/schedules/maskformer_60k.py',
    '../_base_/mmseg_runtime.py',
]
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}), decode_head=dict(metainfo={{_base_.dataset_type}})
)  # 171 classes
tta_model = dict(type='m2f_mm.SegTTAModel')
