# Mask2Former with a ResNet-50 for MMDetection's videos: the image model's parts, with the weights' names of the stock
# video detector. The classes come with the data set.
_base_ = ['./mask2former_r50.py']
track_head = _base_.model.panoptic_head
track_head.type = 'm2f_mm.Mask2FormerTrackHead'
model = dict(
    _delete_=True,
    type='m2f_mm.Mask2FormerVideo',
    data_preprocessor=dict(type='TrackDataPreprocessor', pad_size_divisor=32, **_base_.image_norm),
    backbone=_base_.model.backbone,
    track_head=track_head,
    train_cfg=_base_.model.train_cfg,
    test_cfg=dict(max_per_video=10, instance_masks='rle', frames_at_once=8),
)
del track_head
