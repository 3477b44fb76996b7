# Video instance segmentation of moving shapes on two CPU cores. Frames are enlarged by half: many objects are little
# wider than a cell of the finest level.
_base_ = [
    '../_base_/models/mask2former_r18_small_video.py', '../_base_/datasets/shape_videos.py',
    '../_base_/schedules/shapes_1200.py', '../_base_/video_runtime.py'
]
# Objects leave so often that it would matter if they taught their query to be no object then.
model = dict(track_head=dict(metainfo={{_base_.metainfo}}, last_frame_labels=False))

size = (192, 144)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[1].transforms[2].scale = size
test_pipeline[0].transforms[1].scale = size
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

max_iters = 1000
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=30, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=500)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=500, max_keep_ckpts=1))
