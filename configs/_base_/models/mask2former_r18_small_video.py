# A small video Mask2Former that learns small clips from scratch on a CPU (MMDetection).
_base_ = ['./mask2former_r18_small.py']
track_head = _base_.model.panoptic_head
track_head.type = 'm2f_mm.Mask2FormerTrackHead'
model = dict(
    _delete_=True,
    type='m2f_mm.Mask2FormerVideo',
    data_preprocessor=dict(type='TrackDataPreprocessor', pad_size_divisor=32, **_base_.image_norm),
    backbone=_base_.model.backbone,
    track_head=track_head,
    train_cfg=_base_.model.train_cfg,
    test_cfg=dict(max_per_video=10, instance_masks='rle'),
)
del track_head
