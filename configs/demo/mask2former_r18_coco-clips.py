# A small video model pretrained on clips out of still images; videos follow with load_from.
_base_ = [
    '../_base_/models/mask2former_r18_small_video.py',
    '../_base_/datasets/coco_clips.py',
    '../_base_/schedules/shapes_1200.py',
    '../_base_/video_runtime.py',
]
model = dict(track_head=dict(metainfo={{_base_.dataset_type}}))
train_pipeline = _base_.train_pipeline
train_pipeline[2].short_sides = [144]
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = val_cfg = val_evaluator = None
test_dataloader = test_cfg = test_evaluator = None
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=400, max_keep_ckpts=1))
auto_scale_lr = dict(base_batch_size=4)
