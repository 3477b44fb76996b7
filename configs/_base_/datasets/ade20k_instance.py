# ADE20K instance segmentation (MMDetection), official recipe at 640 pixels: 8 GPUs x 2 images, 100 classes.
#
#   data/ade/ADEChallengeData2016/images/{training,validation}/*.jpg
#   data/ade/ADEChallengeData2016/ade20k_instance_{train,val}.json
#
# Made by tools/dataset_converters/ade20k.py. Another folder: the variable ADE_ROOT, or data_root of the data sets and
# ann_file of the evaluator.
_base_ = ['./loaders.py']
data_root = '{{$ADE_ROOT:data/ade/ADEChallengeData2016}}/'
dataset_type = 'm2f_mm.ADE20KInstanceDataset'
crop_size = (640, 640)
max_size = 2560  # of the long side
short_sides = list(range(320, 1281, 64))

train_pipeline = [
    dict(type='m2f_mm.LoadImage'),
    dict(type='m2f_mm.LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='m2f_mm.ResizeShortestEdge', short_sides=short_sides, max_size=max_size),
    # Instances that the window misses stay, as empty masks, as in the official code.
    dict(type='m2f_mm.FixedSizeCrop', crop_size=crop_size, diagonal=False, pad=False, filter_empty=False),
    dict(type='m2f_mm.ColorAugSSD'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=crop_size, pad_val=dict(img=128, masks=0)),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    # The inferencers of OpenMMLab look for this name, so it is not m2f_mm.LoadImage.
    dict(type='LoadImageFromFile'),
    # The official code resizes with Pillow, which smooths when it shrinks; OpenCV does not.
    dict(type='Resize', scale=(max_size, 640), keep_ratio=True, backend='pillow'),
    dict(type='m2f_mm.LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]

train_dataloader = dict(
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ade20k_instance_train.json',
        data_prefix=dict(img='images/training/'),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ade20k_instance_val.json',
        data_prefix=dict(img='images/validation/'),
        test_mode=True,
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(type='m2f_mm.CocoMetric', ann_file=data_root + 'ade20k_instance_val.json', metric=['segm'])
test_evaluator = val_evaluator
