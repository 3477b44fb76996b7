# Mask2Former with a ResNet-50 for MMSegmentation; the classes come with the data set.
_base_ = ['./mask2former_r50.py']
head = _base_.model.panoptic_head
head.type = 'm2f_mm.Mask2FormerSegHead'
head.train_cfg = _base_.model.train_cfg
model = dict(
    _delete_=True,
    type='m2f_mm.MaskSegmentor',
    data_preprocessor=dict(
        type='SegDataPreProcessor', pad_val=0, seg_pad_val=255, test_cfg=dict(size_divisor=32), **_base_.image_norm
    ),
    backbone=_base_.model.backbone,
    decode_head=head,
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
del head
