# ADE20K panoptic segmentation (MMDetection), official recipe at 640 pixels: 8 GPUs x 2 images.
#
#   data/ade/ADEChallengeData2016/images/{training,validation}/*.jpg
#   data/ade/ADEChallengeData2016/ade20k_panoptic_{train,val}.json and ade20k_panoptic_{train,val}/*.png
#   data/ade/ADEChallengeData2016/ade20k_instance_val.json and annotations/validation/*.png for AP and mIoU
#
# The JSONs are made by tools/dataset_converters/ade20k.py. Another folder: the variable ADE_ROOT, or data_root of the
# data sets and the paths of the evaluators.
_base_ = ['./loaders.py']
data_root = '{{$ADE_ROOT:data/ade/ADEChallengeData2016}}/'
dataset_type = 'm2f_mm.ADE20KPanopticDataset'
crop_size = (640, 640)
max_size = 2560  # of the long side
short_sides = list(range(320, 1281, 64))

# Images are resized with Pillow, as in the official code; it smooths when it shrinks, OpenCV does not.
train_pipeline = [
    dict(type='m2f_mm.LoadImage'),
    dict(type='m2f_mm.LoadPanopticSegments', with_mask=True, mismatch='empty'),  # some stuff lies behind objects
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
    dict(type='Resize', scale=(max_size, 640), keep_ratio=True, backend='pillow'),
    # After the resize, so that the ground truth has the original size. The metrics take the ids of the PNG from here.
    dict(type='m2f_mm.LoadPanopticSegments', mismatch='empty'),
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
        ann_file='ade20k_panoptic_train.json',
        data_prefix=dict(img='images/training/', seg='ade20k_panoptic_train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ade20k_panoptic_val.json',
        data_prefix=dict(img='images/validation/', seg='ade20k_panoptic_val/'),
        test_mode=True,
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(
        type='m2f_mm.PanopticMetric',
        ann_file=data_root + 'ade20k_panoptic_val.json',
        seg_prefix=data_root + 'ade20k_panoptic_val/',
    ),
    dict(type='m2f_mm.ThingMetric', ann_file=data_root + 'ade20k_instance_val.json', metric='segm'),
    dict(type='m2f_mm.SemanticMetric', label_files={'/images/': '/annotations/', '.jpg': '.png'}, first_label=1),
]
test_evaluator = val_evaluator
