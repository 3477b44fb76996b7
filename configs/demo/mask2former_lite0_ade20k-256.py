# A small Mask2Former that starts from a pretrained EfficientNet-Lite0, on a folder in ADE20K's semantic layout at 256
# pixels, for a machine without GPU. ADE_ROOT names the folder.
_base_ = [
    '../_base_/models/mask2former_lite0_small_mmseg.py',
    '../_base_/datasets/ade20k_semantic.py',
    '../_base_/schedules/mask2former_adamw.py',
    '../_base_/mmseg_runtime.py',
]
crop_size = (256, 256)
train_pipeline = _base_.train_pipeline
train_pipeline[2].scales = [(1024, int(0.1 * k * 256)) for k in range(5, 21)]
train_pipeline[3].crop_size = crop_size
train_pipeline[6].size = crop_size
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (1024, 256)
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
model = dict(data_preprocessor=dict(size=crop_size), decode_head=dict(metainfo={{_base_.dataset_type}}))
tta_model = dict(type='m2f_mm.SegTTAModel')

max_iters = 1000
optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=1.0))  # the head starts from scratch
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=30, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=500)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=500, max_keep_ckpts=1))
auto_scale_lr = dict(base_batch_size=4)
