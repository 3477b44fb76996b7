# Mask DINO: 160000 iterations of 16 images; lr x 0.1 at 27/32 and 15/16. The official models were trained without AMP.
_base_ = ['./poly_160k.py']
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=160000, by_epoch=False, milestones=[135000, 150000], gamma=0.1)
]
