# mIoU 47.8 (single scale), 50.1 (multi-scale and flip) published (official model zoo, 48243040_0); not re-run by us.
_base_ = ['./mask2former_r50_8xb2-160k_ade20k-512x512.py']
model = dict(
    backbone=dict(
        depth=101,
        norm_cfg=dict(_delete_=True, type='SyncBN', requires_grad=True),
        init_cfg=dict(checkpoint='m2f_mm://resnet101'),
    )
)
