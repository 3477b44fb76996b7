# mIoU 63.2 (single scale), 64.7 (multi-scale and flip) published (official model zoo, 49189528_0);
# not re-run by us.
_base_ = ['./mask2former_r50_8xb2-300k_mapillary-1024x1024.py', '../_base_/backbones/swin-l-p4-w12-384-in21k.py']
model = dict(backbone=dict(_delete_=True, **_base_.backbone), decode_head=dict(in_channels=_base_.in_channels))
train_dataloader = dict(batch_size=1)
