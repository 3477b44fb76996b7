# Detection alone, to start a segmentation model from. No number of this one was published, and we have trained none.
_base_ = [
    '../_base_/models/mask_dino_r50.py',
    '../_base_/datasets/objects365_detection.py',
    '../_base_/schedules/objects365_26e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    panoptic_head=dict(metainfo={{_base_.dataset_type}}, predict_masks=False),  # 365 things
    test_cfg=dict(panoptic_on=False, instance_on=True),
)
