# AP 52.6 published (official model zoo, 50908813_6); not re-run by us.
_base_ = ['./mask2former_r50_8xb2-8e_youtubevis2021.py', '../_base_/backbones/swin-l-p4-w12-384-in21k.py']
model = dict(
    backbone=dict(_delete_=True, **_base_.backbone), track_head=dict(in_channels=_base_.in_channels, num_queries=200)
)
load_from = 'm2f_mm://mask2former_swin-l-p4-w12-384-in21k_16xb1-lsj-100e_coco'
