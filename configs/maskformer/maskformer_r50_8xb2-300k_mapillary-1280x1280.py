# mIoU 53.1 (single scale), 55.4 (multi-scale and flip) published (official model zoo, 42325118); not re-run by us.
_base_ = [
    '../_base_/models/maskformer_r50_mmseg.py',
    '../_base_/datasets/mapillary_semantic.py',
    '../_base_/schedules/maskformer_300k.py',
    '../_base_/mmseg_runtime.py',
]
crop_size = (1280, 1280)
train_pipeline = _base_.train_pipeline
train_pipeline[3].crop_size = crop_size
train_pipeline[6].size = crop_size
model = dict(data_preprocessor=dict(size=crop_size), decode_head=dict(metainfo={{_base_.dataset_type}}))  # 65 classes
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
tta_model = dict(type='m2f_mm.SegTTAModel')
