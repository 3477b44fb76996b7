# 8000 iterations of 16 clips (YouTube-VIS 2021); validation at the end.
_base_ = ['./mask2former_adamw.py']
max_iters = 8000
param_scheduler = [dict(type='MultiStepLR', begin=0, end=max_iters, by_epoch=False, milestones=[5500], gamma=0.1)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
