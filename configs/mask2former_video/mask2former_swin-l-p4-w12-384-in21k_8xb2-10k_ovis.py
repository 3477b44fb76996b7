# As the R50, with MinVIS's test size for Swin-L. No number of this one was published, and we have trained none.
_base_ = ['./mask2former_r50_8xb2-10k_ovis.py', '../_base_/backbones/swin-l-p4-w12-384-in21k.py']
model = dict(
    backbone=dict(_delete_=True, **_base_.backbone), track_head=dict(in_channels=_base_.in_channels, num_queries=200)
)
test_pipeline = _base_.test_pipeline
test_pipeline[0].transforms[1].scale = (1333, 480)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
load_from = 'm2f_mm://mask2former_swin-l-p4-w12-384-in21k_16xb1-lsj-100e_coco'
