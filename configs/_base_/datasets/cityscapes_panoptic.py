# Cityscapes panoptic segmentation (MMDetection), official recipe at 512x1024: 8 GPUs x 2 images, 8 things, 11 stuff.
#
#   data/cityscapes/leftImg8bit/{train,val}/CITY/*_leftImg8bit.png
#   data/cityscapes/gtFine/cityscapes_panoptic_{train,val}.json and cityscapes_panoptic_{train,val}/*.png
#
# Made by tools/dataset_converters/cityscapes.py. Another folder: the variable CITYSCAPES_ROOT, or data_root of the data
# sets and the paths of the evaluators. For AP beside PQ, add the evaluator of cityscapes_instance.py.
_base_ = ['./loaders.py']
data_root = '{{$CITYSCAPES_ROOT:data/cityscapes}}/'
dataset_type = 'm2f_mm.CityscapesPanopticDataset'
crop_size = (512, 1024)
max_size = 4096  # of the long side
short_sides = [int(0.1 * k * 1024) for k in range(5, 21)]

# Images are resized with Pillow, as in the official code; it smooths when it shrinks, OpenCV does not.
train_pipeline = [
    dict(type='m2f_mm.LoadImage'),
    dict(type='m2f_mm.LoadPanopticSegments', with_mask=True),
    dict(type='m2f_mm.ResizeShortestEdge', short_sides=short_sides, max_size=max_size),
    dict(type='m2f_mm.FixedSizeCrop', crop_size=crop_size, diagonal=False, pad=False),
    dict(type='m2f_mm.ColorAugSSD'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='m2f_mm.PackPanopticInputs'),
]
test_pipeline = [
    # The inferencers of OpenMMLab look for this name, so it is not m2f_mm.LoadImage.
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True, backend='pillow'),
    # After the resize, so that the ground truth has the original size. The metrics take the ids of the PNG from here.
    dict(type='m2f_mm.LoadPanopticSegments'),
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
        ann_file='gtFine/cityscapes_panoptic_train.json',
        data_prefix=dict(img='leftImg8bit/train/', seg='gtFine/cityscapes_panoptic_train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='gtFine/cityscapes_panoptic_val.json',
        data_prefix=dict(img='leftImg8bit/val/', seg='gtFine/cityscapes_panoptic_val/'),
        test_mode=True,
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(
        type='m2f_mm.PanopticMetric',
        ann_file=data_root + 'gtFine/cityscapes_panoptic_val.json',
        seg_prefix=data_root + 'gtFine/cityscapes_panoptic_val/',
        prefix='cityscapes_panoptic',
    ),
    # AP by cityscapesScripts: pip install cityscapesscripts, or leave this metric out.
    dict(type='CityScapesMetric', seg_prefix=data_root + 'gtFine/val', outfile_prefix='work_dirs/cityscapes_panoptic'),
    dict(
        type='m2f_mm.SemanticMetric',
        label_files={'/leftImg8bit/': '/gtFine/', '_leftImg8bit.png': '_gtFine_labelTrainIds.png'},
    ),
]
test_evaluator = val_evaluator
