# 10000 iterations of 16 clips (OVIS; the number of iterations is MinVIS's); validation at the end.
_base_ = ['./mask2former_adamw.py']
max_iters = 10000
param_scheduler = [dict(type='MultiStepLR', begin=0, end=max_iters, by_epoch=False, milestones=[7000], gamma=0.1)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
