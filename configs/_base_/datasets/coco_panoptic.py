# COCO panoptic with the large-scale jitter of the official recipe: 8 GPUs x 2 images.
#
#   data/coco/{train2017,val2017}/*.jpg
#   data/coco/annotations/panoptic_{train2017,val2017}.json and panoptic_{train2017,val2017}/*.png
#   data/coco/annotations/instances_val2017.json
#
# Another folder: the variable COCO_ROOT, or data_root of the data sets and the paths of the evaluators.
_base_ = ['./loaders.py']
data_root = '{{$COCO_ROOT:data/coco}}/'
dataset_type = 'm2f_mm.CocoPanopticDataset'
image_size = (1024, 1024)
backend_args = None

train_pipeline = [
    dict(type='m2f_mm.LoadImage', backend_args=backend_args),
    dict(type='m2f_mm.LoadPanopticSegments', with_mask=True, backend_args=backend_args),
    dict(type='RandomFlip', prob=0.5),  # before the resize, as in the official code
    dict(type='m2f_mm.LargeScaleJitter', scale=image_size, crop_size=image_size, ratio_range=(0.1, 2.0)),
    dict(type='m2f_mm.PackPanopticInputs'),
]
test_pipeline = [
    # The inferencers of OpenMMLab look for this name, so it is not m2f_mm.LoadImage.
    dict(type='LoadImageFromFile', backend_args=backend_args),
    # The official code resizes with Pillow, which smooths when it shrinks; OpenCV does not.
    dict(type='Resize', scale=(1333, 800), keep_ratio=True, backend='pillow'),
    # After the resize, so that the ground truth has the original size. The metrics take the ids of the PNG from here.
    dict(type='m2f_mm.LoadPanopticSegments', backend_args=backend_args),
    dict(
        type='m2f_mm.PackPanopticInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'panoptic_ids'),
    ),
]

# No filter_cfg: the official panoptic recipe trains on every image.
train_dataloader = dict(
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/panoptic_train2017.json',
        data_prefix=dict(img='train2017/', seg='annotations/panoptic_train2017/'),
        pipeline=train_pipeline,
        backend_args=backend_args,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/panoptic_val2017.json',
        data_prefix=dict(img='val2017/', seg='annotations/panoptic_val2017/'),
        test_mode=True,
        pipeline=test_pipeline,
        backend_args=backend_args,
    )
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(
        type='m2f_mm.PanopticMetric',
        ann_file=data_root + 'annotations/panoptic_val2017.json',
        seg_prefix=data_root + 'annotations/panoptic_val2017/',
        backend_args=backend_args,
    ),
    dict(
        type='m2f_mm.CocoMetric',
        ann_file=data_root + 'annotations/instances_val2017.json',
        metric='segm',
        backend_args=backend_args,
    ),
    dict(
        type='m2f_mm.SemanticMetric',
        ann_file=data_root + 'annotations/panoptic_val2017.json',
        seg_prefix=data_root + 'annotations/panoptic_val2017/',
        backend_args=backend_args,
    ),
]
test_evaluator = val_evaluator
