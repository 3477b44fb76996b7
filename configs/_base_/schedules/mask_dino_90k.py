# Mask DINO: 90000 iterations of 16 images; lr x 0.1 at 8/9 and 29/30. The official models were trained without AMP.
_base_ = ['./poly_90k.py']
param_scheduler = [dict(type='MultiStepLR', begin=0, end=90000, by_epoch=False, milestones=[80000, 87000], gamma=0.1)]
