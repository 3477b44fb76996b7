# Mapillary Vistas v1.2 semantic segmentation (MMSegmentation), official recipe at 1024 pixels: 8 GPUs x 2 images,
# 65 classes.
#
#   data/mapillary_vistas/{training,validation}/images/*.jpg
#   data/mapillary_vistas/{training,validation}/labels/*.png
#
# As downloaded. Another folder: the variable MAPILLARY_ROOT, or data_root of the data sets. v2.0:
# mapillary_v2_semantic.py.
_base_ = ['./loaders.py']
data_root = '{{$MAPILLARY_ROOT:data/mapillary_vistas}}/'
dataset_type = 'm2f_mm.MapillaryDataset'  # value 65, unlabelled, becomes 255
crop_size = (1024, 1024)
max_size = 8192  # of the long side
short_sides = [int(0.1 * k * 2048) for k in range(5, 21)]

# Images are resized with Pillow, as in the official code; it smooths when it shrinks, OpenCV does not. Labels take
# the nearest pixel centre.
train_pipeline = [
    dict(type='m2f_mm.LoadImage'),
    dict(type='m2f_mm.LoadLabelMap'),
    dict(
        type='RandomChoiceResize',
        scales=[(max_size, side) for side in short_sides],
        resize_type='Resize',
        keep_ratio=True,
        backend='pillow',
    ),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=1.0),  # 1.0: the first window is taken
    dict(type='m2f_mm.ColorAugSSD'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=crop_size, pad_val=dict(img=128, seg=255)),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    # The inferencers of OpenMMLab look for this name, so it is not m2f_mm.LoadImage.
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 2048), keep_ratio=True, backend='pillow'),
    dict(type='m2f_mm.LoadLabelMap'),  # after the resize: the ground truth stays at the original size
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    # The official code scales the image that is resized for the test already.
    dict(type='Resize', scale=(2048, 2048), keep_ratio=True, backend='pillow'),
    dict(
        type='TestTimeAug',
        transforms=[
            # Not in the official configuration; detectron2's defaults would apply.
            [
                dict(type='Resize', scale=(4000, side), keep_ratio=True, backend='pillow')
                for side in range(400, 1201, 100)
            ],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='m2f_mm.LoadLabelMap')],
            [dict(type='PackSegInputs')],
        ],
    ),
]

train_dataloader = dict(
    num_workers=10,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='training/images', seg_map_path='training/labels'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='validation/images', seg_map_path='validation/labels'),
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(type='m2f_mm.IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
