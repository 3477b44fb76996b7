# Can a small video model learn a few real clips by heart? It trains and evaluates on the same ones. DAVIS_ROOT names a
# folder with train.json and valid.json in YouTube-VIS's format and the frames in JPEGImages/480p.
_base_ = [
    '../_base_/models/mask2former_r18_small_video.py',
    '../_base_/datasets/youtube_vis_2019.py',
    '../_base_/schedules/shapes_1200.py',
    '../_base_/video_runtime.py',
]
model = dict(
    backbone=dict(norm_cfg=dict(_delete_=True, type='GN', num_groups=32)),  # needs no statistics
    track_head=dict(metainfo={{_base_.dataset_type}}),
)

data_root = '{{$DAVIS_ROOT:data/davis}}/'
frames = dict(img_path='JPEGImages/480p/')
train_pipeline = _base_.train_pipeline
train_pipeline[1].transforms[2].short_sides = [144]
test_pipeline = _base_.test_pipeline
test_pipeline[0].transforms[1].scale = (1333, 144)
train_dataloader = dict(
    batch_size=3, num_workers=1, dataset=dict(data_root=data_root, data_prefix=frames, pipeline=train_pipeline)
)
val_dataloader = dict(
    num_workers=1, dataset=dict(data_root=data_root, ann_file='train.json', data_prefix=frames, pipeline=test_pipeline)
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='m2f_mm.YouTubeVISMetric')
test_evaluator = val_evaluator

max_iters = 800
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=30, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False),
]
train_cfg = dict(max_iters=max_iters, val_interval=200)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=max_iters, max_keep_ckpts=1))
auto_scale_lr = dict(base_batch_size=3)
