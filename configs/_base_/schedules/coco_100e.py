# 737500 iterations of 16 images, about 100 epochs of COCO.
_base_ = ['./coco_50e.py']
max_iters = 737500
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=max_iters, by_epoch=False, milestones=[655556, 710184], gamma=0.1)
]
train_cfg = dict(max_iters=max_iters)
