# Cityscapes instance segmentation (MMDetection), official recipe at 512x1024: 8 GPUs x 2 images, 8 classes.
#
#   data/cityscapes/leftImg8bit/{train,val}/CITY/*_leftImg8bit.png
#   data/cityscapes/gtFine/cityscapes_instance_{train,val}.json
#   data/cityscapes/gtFine/val/CITY/*_gtFine_instanceIds.png for AP
#
# The JSONs are made by tools/dataset_converters/cityscapes.py; AP needs the package cityscapesscripts. Another folder:
# the variable CITYSCAPES_ROOT, or data_root of the data sets and seg_prefix of the evaluator.
_base_ = ['./loaders.py']
data_root = '{{$CITYSCAPES_ROOT:data/cityscapes}}/'
dataset_type = 'm2f_mm.CityscapesDataset'
crop_size = (512, 1024)
max_size = 4096  # of the long side
short_sides = [int(0.1 * k * 1024) for k in range(5, 21)]

train_pipeline = [
    dict(type='m2f_mm.LoadImage'),
    dict(type='m2f_mm.LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False),
    dict(type='m2f_mm.ResizeShortestEdge', short_sides=short_sides, max_size=max_size),
    # Instances that the window misses stay, as empty masks, as in the official code.
    dict(type='m2f_mm.FixedSizeCrop', crop_size=crop_size, diagonal=False, pad=False, filter_empty=False),
    dict(type='m2f_mm.ColorAugSSD'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    # The inferencers of OpenMMLab look for this name, so it is not m2f_mm.LoadImage.
    dict(type='LoadImageFromFile'),
    # The official code resizes with Pillow, which smooths when it shrinks; OpenCV does not.
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True, backend='pillow'),
    dict(type='m2f_mm.LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]

train_dataloader = dict(
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='gtFine/cityscapes_instance_train.json',
        data_prefix=dict(img='leftImg8bit/train/'),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='gtFine/cityscapes_instance_val.json',
        data_prefix=dict(img='leftImg8bit/val/'),
        test_mode=True,
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader

# AP by cityscapesScripts: pip install cityscapesscripts.
val_evaluator = dict(
    type='CityScapesMetric', seg_prefix=data_root + 'gtFine/val', outfile_prefix='work_dirs/cityscapes_instance'
)
test_evaluator = val_evaluator
