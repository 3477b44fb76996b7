# mIoU 83.3 (single scale), 84.3 (multi-scale and flip) published (official model zoo, 48318254_5);
# not re-run by us.
_base_ = ['./mask2former_r50_8xb2-90k_cityscapes-512x1024.py', '../_base_/backbones/swin-l-p4-w12-384-in21k.py']
model = dict(backbone=dict(_delete_=True, **_base_.backbone), decode_head=dict(in_channels=_base_.in_channels))
train_dataloader = dict(batch_size=1)
