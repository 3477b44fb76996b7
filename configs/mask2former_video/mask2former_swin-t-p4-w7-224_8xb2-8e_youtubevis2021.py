# AP 45.9 published (official model zoo, 50897611_7); not re-run by us.
_base_ = ['./mask2former_r50_8xb2-8e_youtubevis2021.py', '../_base_/backbones/swin-t-p4-w7-224.py']
model = dict(backbone=dict(_delete_=True, **_base_.backbone), track_head=dict(in_channels=_base_.in_channels))
test_pipeline = _base_.test_pipeline
test_pipeline[0].transforms[1].scale = (1333, 480)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
load_from = 'm2f_mm://mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco'
