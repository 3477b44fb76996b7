# Cityscapes semantic segmentation (MMSegmentation), official recipe at 512x1024: 8 GPUs x 2 images, 19 classes.
#
#   data/cityscapes/leftImg8bit/{train,val}/CITY/*_leftImg8bit.png
#   data/cityscapes/gtFine/{train,val}/CITY/*_gtFine_labelTrainIds.png
#
# Train ids are made by tools/dataset_converters/cityscapes.py. Another folder: the variable CITYSCAPES_ROOT, or
# data_root of the data sets.
_base_ = ['./loaders.py']
data_root = '{{$CITYSCAPES_ROOT:data/cityscapes}}/'
dataset_type = 'CityscapesDataset'
crop_size = (512, 1024)
max_size = 4096  # of the long side
short_sides = [int(0.1 * k * 1024) for k in range(5, 21)]

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
    dict(type='PackSegInputs'),
]
test_pipeline = [
    # The inferencers of OpenMMLab look for this name, so it is not m2f_mm.LoadImage.
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True, backend='pillow'),
    dict(type='m2f_mm.LoadLabelMap'),  # after the resize: the ground truth stays at the original size
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    # The official code scales the image that is resized for the test already.
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True, backend='pillow'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=(4096, side), keep_ratio=True, backend='pillow')
                for side in (512, 768, 1024, 1280, 1536, 1792)
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
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(type='m2f_mm.IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
