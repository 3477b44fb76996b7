# Mapillary Vistas v1.2 panoptic segmentation (MMDetection), official recipe at 1024 pixels: 8 GPUs x 2 images,
# 37 things, 28 stuff.
#
#   data/mapillary_vistas/{training,validation}/images/*.jpg
#   data/mapillary_vistas/{training,validation}/panoptic/panoptic_2018.json and *.png
#   data/mapillary_vistas/validation/labels/*.png for mIoU
#
# As downloaded. Another folder: the variable MAPILLARY_ROOT, or data_root of the data sets and the paths of the
# evaluator. v2.0: mapillary_v2_panoptic.py.
_base_ = ['./loaders.py']
data_root = '{{$MAPILLARY_ROOT:data/mapillary_vistas}}/'
dataset_type = 'm2f_mm.MapillaryPanopticDataset'
crop_size = (1024, 1024)
max_size = 8192  # of the long side
short_sides = [int(0.1 * k * 2048) for k in range(5, 21)]

# Images are resized with Pillow, as in the official code; it smooths when it shrinks, OpenCV does not.
train_pipeline = [
    dict(type='m2f_mm.LoadImage'),
    dict(type='m2f_mm.LoadPanopticSegments', with_mask=True),
    dict(type='m2f_mm.ResizeShortestEdge', short_sides=short_sides, max_size=max_size),
    dict(type='m2f_mm.FixedSizeCrop', crop_size=crop_size, diagonal=False, pad=False),
    dict(type='m2f_mm.ColorAugSSD'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=crop_size, pad_val=dict(img=128, seg=255)),
    dict(type='m2f_mm.PackPanopticInputs'),
]
test_pipeline = [
    # The inferencers of OpenMMLab look for this name, so it is not m2f_mm.LoadImage.
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 2048), keep_ratio=True, backend='pillow'),
    # After the resize, so that the ground truth has the original size. The metrics take the ids of the PNG from here.
    dict(type='m2f_mm.LoadPanopticSegments'),
    dict(
        type='m2f_mm.PackPanopticInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'panoptic_ids'),
    ),
]

# No filter_cfg: the official panoptic recipe trains on every image.
train_dataloader = dict(
    num_workers=10,
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='training/panoptic/panoptic_2018.json',
        data_prefix=dict(img='training/images/', seg='training/panoptic/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='validation/panoptic/panoptic_2018.json',
        data_prefix=dict(img='validation/images/', seg='validation/panoptic/'),
        test_mode=True,
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(
        type='m2f_mm.PanopticMetric',
        ann_file=data_root + 'validation/panoptic/panoptic_2018.json',
        seg_prefix=data_root + 'validation/panoptic/',
        prefix='mapillary_panoptic',
    ),
    dict(type='m2f_mm.SemanticMetric', label_files={'/images/': '/labels/', '.jpg': '.png'}),
]
test_evaluator = val_evaluator
