# Can a small Mask DINO learn four images by heart, boxes and masks? It trains and evaluates on the same four, without
# jitter or flips. COCO_ROOT names a folder in COCO's layout; the indices are those of a subset of 12 images.
_base_ = [
    '../_base_/models/mask_dino_r18_small.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/shapes_1200.py',
    '../_base_/default_runtime.py',
]
size = (256, 256)
model = dict(
    # Boxes are learned in shares of the padded input, so images are padded to the same size in training and testing.
    data_preprocessor=dict(pad_size_divisor=size[0]),
    backbone=dict(norm_cfg=dict(_delete_=True, type='GN', num_groups=32)),  # needs no statistics
    panoptic_head=dict(
        metainfo={{_base_.dataset_type}},
        feat_channels=128,
        out_channels=128,
        num_queries=50,
        denoising_queries=50,
        pixel_decoder=dict(num_layers=3, feedforward_channels=512),
        transformer_decoder=dict(num_layers=4, embed_dims=128, feedforward_channels=512),
    ),
    train_cfg=dict(num_points=1024),
    test_cfg=dict(instance_on=True, max_per_image=100),
)

indices = [0, 3, 10, 11]
train_pipeline = _base_.train_pipeline
train_pipeline[2].prob = 0.0  # no flips
train_pipeline[3].update(scale=size, crop_size=size, ratio_range=(1.0, 1.0))
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = size
train_set = _base_.train_dataloader.dataset
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(indices=indices, pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        ann_file=train_set.ann_file, data_prefix=train_set.data_prefix, indices=indices, pipeline=test_pipeline
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=train_set.data_root + train_set.ann_file, metric=['bbox', 'segm'])
test_evaluator = val_evaluator
del train_set

max_iters = 800
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=30, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False),
]
train_cfg = dict(max_iters=max_iters, val_interval=200)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=max_iters, max_keep_ckpts=1))
auto_scale_lr = dict(base_batch_size=4)
