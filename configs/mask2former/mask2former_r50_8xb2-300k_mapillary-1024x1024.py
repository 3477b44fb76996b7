# mIoU 57.4 (single scale), 59.0 (multi-scale and flip) published (official model zoo, 49189528_1);
# not re-run by us.
_base_ = [
    '../_base_/models/mask2former_r50_mmseg.py',
    '../_base_/datasets/mapillary_semantic.py',
    '../_base_/schedules/poly_300k.py',
    '../_base_/mmseg_runtime.py',
]
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}), decode_head=dict(metainfo={{_base_.dataset_type}})
)  # 65 classes
tta_model = dict(type='m2f_mm.SegTTAModel')
