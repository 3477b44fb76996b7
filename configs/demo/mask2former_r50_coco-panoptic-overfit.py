# Can the whole recipe learn four images by heart? It trains and evaluates on the same four, without jitter.
_base_ = ['./mask2former_r50_coco-panoptic-256.py']
indices = [1, 26, 38, 52]
size = (192, 192)
train_pipeline = _base_.train_pipeline
train_pipeline[3].update(scale=size, crop_size=size, ratio_range=(1.0, 1.0))
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = size
train_set = _base_.train_dataloader.dataset
train_dataloader = dict(dataset=dict(indices=indices, pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        ann_file=train_set.ann_file, data_prefix=train_set.data_prefix, indices=indices, pipeline=test_pipeline
    )
)
test_dataloader = val_dataloader
val_evaluator = _base_.val_evaluator
val_evaluator[0].ann_file = train_set.data_root + train_set.ann_file
val_evaluator[0].seg_prefix = train_set.data_root + train_set.data_prefix.seg
test_evaluator = val_evaluator
del train_set

max_iters = 500
optim_wrapper = dict(optimizer=dict(lr=3e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=20, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False),
]
train_cfg = dict(max_iters=max_iters, val_interval=125)
default_hooks = dict(checkpoint=dict(interval=max_iters))
auto_scale_lr = dict(base_batch_size=2)
