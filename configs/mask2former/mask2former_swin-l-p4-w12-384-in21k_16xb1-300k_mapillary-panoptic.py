# PQ 45.5, mIoU 60.8 published (official model zoo, 48267065_4); not re-run by us.
_base_ = ['./mask2former_r50_8xb2-300k_mapillary-panoptic.py', '../_base_/backbones/swin-l-p4-w12-384-in21k.py']
model = dict(
    backbone=dict(_delete_=True, **_base_.backbone), panoptic_head=dict(in_channels=_base_.in_channels, num_queries=200)
)
train_dataloader = dict(batch_size=1)
