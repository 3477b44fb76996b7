# AP 42.4 published (official model zoo, 50897581_8); not re-run by us.
_base_ = ['./mask2former_r50_8xb2-8e_youtubevis2021.py']
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='m2f_mm://resnet101')))
load_from = 'm2f_mm://mask2former_r101_8xb2-lsj-50e_coco'  # the image model; its class layer starts anew
