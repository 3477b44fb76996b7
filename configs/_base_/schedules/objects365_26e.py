# 708000 iterations of 64 images, about 26 epochs of Objects365; lr x 0.1 at 8/9 and 26/27.
#
# The paper says no more of its pre-training than that it is detection alone. Length and batch are those of DINO's, the
# steps those of the COCO recipes; none of it was tuned by us.
_base_ = ['./mask2former_adamw.py']
max_iters = 708000
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=max_iters, by_epoch=False, milestones=[629333, 681778], gamma=0.1)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=50000)
auto_scale_lr = dict(base_batch_size=64)
