# MaskFormer: 554400 iterations of 64 images, about 300 epochs of COCO; lr x 0.1 at two thirds. Evaluated at its end
# only.
_base_ = ['./coco_50e.py']
max_iters = 554400
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
param_scheduler = [dict(type='MultiStepLR', begin=0, end=max_iters, by_epoch=False, milestones=[369600], gamma=0.1)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
auto_scale_lr = dict(base_batch_size=64)
