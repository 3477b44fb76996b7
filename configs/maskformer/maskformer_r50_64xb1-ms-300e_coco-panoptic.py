# PQ 46.5 published (official model zoo, 42747488_1); not re-run by us.
_base_ = [
    '../_base_/models/maskformer_r50.py',
    '../_base_/datasets/coco_panoptic_detr.py',
    '../_base_/schedules/maskformer_554k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(pad_size_divisor=1),  # images go in as they are
    panoptic_head=dict(metainfo={{_base_.dataset_type}}),  # 80 things, 53 stuff
    test_cfg=dict(panoptic_on=True),
)
