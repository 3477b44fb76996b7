# Objects365 v2: boxes of 365 classes, with the large-scale jitter of the COCO recipes. 32 GPUs x 2 images.
#
#   data/objects365/{train,val}/patch*/*.jpg
#   data/objects365/annotations/zhiyuan_objv2_{train,val}.json
#
# Another folder: the variable OBJECTS365_ROOT, or data_root of the data sets and ann_file of the evaluator.
_base_ = ['./loaders.py']
data_root = '{{$OBJECTS365_ROOT:data/objects365}}/'
dataset_type = 'm2f_mm.Objects365V2Dataset'
image_size = (1024, 1024)
backend_args = None

train_pipeline = [
    dict(type='m2f_mm.LoadImage', backend_args=backend_args),
    dict(type='m2f_mm.LoadAnnotations', with_bbox=True, backend_args=backend_args),
    dict(type='RandomFlip', prob=0.5),
    # Also removes the boxes that it leaves nothing of.
    dict(type='m2f_mm.LargeScaleJitter', scale=image_size, crop_size=image_size, ratio_range=(0.1, 2.0)),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    # The inferencers of OpenMMLab look for this name, so it is not m2f_mm.LoadImage.
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True, backend='pillow'),
    dict(type='m2f_mm.LoadAnnotations', with_bbox=True, backend_args=backend_args),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]

train_dataloader = dict(
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/zhiyuan_objv2_train.json',
        data_prefix=dict(img='train/'),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
        backend_args=backend_args,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/zhiyuan_objv2_val.json',
        data_prefix=dict(img='val/'),
        test_mode=True,
        pipeline=test_pipeline,
        backend_args=backend_args,
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='m2f_mm.CocoMetric',
    ann_file=data_root + 'annotations/zhiyuan_objv2_val.json',
    metric=['bbox'],
    backend_args=backend_args,
)
test_evaluator = val_evaluator
