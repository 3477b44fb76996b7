# 147500 iterations of 16 images, about 20 epochs of COCO, for a start from Objects365; lr x 0.1 at 8/9 and 26/27.
_base_ = ['./mask2former_adamw.py']
max_iters = 147500
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=max_iters, by_epoch=False, milestones=[131111, 142037], gamma=0.1)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=5000)
