# Mask AP 46.1, box AP 51.5 published (official model zoo); not re-run by us.
_base_ = [
    '../_base_/models/mask_dino_r50.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/coco_50e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    panoptic_head=dict(
        metainfo={{_base_.dataset_type}},  # 80 things
        num_transformer_feat_level=3,
        boxes_from_masks='bitmask',
        pixel_decoder=dict(num_extra_levels=0, fine_first=False, feedforward_channels=1024),
    ),
    test_cfg=dict(instance_on=True),
)
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
