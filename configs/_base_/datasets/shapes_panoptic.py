# The generated shapes in COCO panoptic form (MMDetection): python tools/dataset_converters/make_shapes.py
#
# Another folder: the variable SHAPES_ROOT, or data_root of the data sets and the paths of the evaluators.
_base_ = ['./loaders.py']
data_root = '{{$SHAPES_ROOT:data/shapes}}/'
dataset_type = 'm2f_mm.PanopticDataset'
metainfo = dict(
    thing_classes=('disc', 'square', 'triangle', 'ring'),
    stuff_classes=('sky', 'ground', 'water'),
    classes=('disc', 'square', 'triangle', 'ring', 'sky', 'ground', 'water'),
)
image_size = (128, 128)

train_pipeline = [
    dict(type='m2f_mm.LoadImage'),
    dict(type='m2f_mm.LoadPanopticSegments', with_mask=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='m2f_mm.LargeScaleJitter', scale=image_size, crop_size=image_size, ratio_range=(0.8, 1.4)),
    dict(type='m2f_mm.PackPanopticInputs'),
]
test_pipeline = [
    # The inferencers of OpenMMLab look for this name, so it is not m2f_mm.LoadImage.
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True, backend='pillow'),
    dict(type='m2f_mm.LoadPanopticSegments'),
    dict(
        type='m2f_mm.PackPanopticInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'panoptic_ids'),
    ),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/panoptic_train.json',
        data_prefix=dict(img='img_dir/train/', seg='annotations/panoptic_train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/panoptic_val.json',
        data_prefix=dict(img='img_dir/val/', seg='annotations/panoptic_val/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(
        type='m2f_mm.PanopticMetric',
        ann_file=data_root + 'annotations/panoptic_val.json',
        seg_prefix=data_root + 'annotations/panoptic_val/',
        classwise=True,
    ),
    dict(type='m2f_mm.CocoMetric', ann_file=data_root + 'annotations/instances_val.json', metric='segm'),
]
test_evaluator = val_evaluator
