# ADE20K semantic segmentation at 640 pixels, as the official recipes of the larger Swins.
_base_ = ['./ade20k_semantic.py']
crop_size = (640, 640)
max_size = 2560
short_sides = list(range(320, 1281, 64))
train_pipeline = _base_.train_pipeline
train_pipeline[2].scales = [(max_size, side) for side in short_sides]
train_pipeline[3].crop_size = crop_size
train_pipeline[6].size = crop_size
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (max_size, 640)
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].scale = (max_size, 640)
tta_pipeline[2].transforms[0] = [
    dict(type='Resize', scale=(4480, side), keep_ratio=True, backend='pillow')
    for side in (320, 480, 640, 800, 960, 1120)
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
