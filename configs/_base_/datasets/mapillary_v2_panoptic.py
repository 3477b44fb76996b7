# Mapillary Vistas v2.0 panoptic segmentation (MMDetection), with the sizes and crops of v1.2's recipe; there is no
# published model.
#
#   data/mapillary_vistas/{training,validation}/images/*.jpg
#   data/mapillary_vistas/{training,validation}/v2.0/panoptic/panoptic_2020.json and *.png
#
# As downloaded. The classes are those of the JSON, things first. A head takes their numbers,
# num_things_classes={{_base_.num_things_classes}} and the other, which the hook of the runtime compares with the data.
_base_ = ['./mapillary_panoptic.py']
dataset_type = 'm2f_mm.PanopticDataset'
num_things_classes, num_stuff_classes = 70, 46
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        ann_file='training/v2.0/panoptic/panoptic_2020.json',
        data_prefix=dict(seg='training/v2.0/panoptic/'),
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        ann_file='validation/v2.0/panoptic/panoptic_2020.json',
        data_prefix=dict(seg='validation/v2.0/panoptic/'),
    )
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(
        type='m2f_mm.PanopticMetric',
        ann_file=_base_.data_root + 'validation/v2.0/panoptic/panoptic_2020.json',
        seg_prefix=_base_.data_root + 'validation/v2.0/panoptic/',
        prefix='mapillary_panoptic',
    )
]
test_evaluator = val_evaluator
