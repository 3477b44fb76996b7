# ADE20K semantic segmentation (MMSegmentation), official recipe at 512 pixels: 8 GPUs x 2 images.
#
#   data/ade/ADEChallengeData2016/{images,annotations}/{training,validation}/*
#
# Another folder: the variable ADE_ROOT, or data_root of the data sets.
_base_ = ['./loaders.py']
data_root = '{{$ADE_ROOT:data/ade/ADEChallengeData2016}}'
dataset_type = 'ADE20KDataset'  # reduces the zero label: 0 becomes 255, 1..150 become 0..149
crop_size = (512, 512)
max_size = 2048  # of the long side
short_sides = [256, 307, 358, 409, 460, 512, 563, 614, 665, 716, 768, 819, 870, 921, 972, 1024]  # int(0.1 k 512)

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
    dict(type='Resize', scale=(max_size, 512), keep_ratio=True, backend='pillow'),
    dict(type='m2f_mm.LoadLabelMap'),  # after the resize: the ground truth stays at the original size
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    # The official code scales the image that is resized for the test already.
    dict(type='Resize', scale=(max_size, 512), keep_ratio=True, backend='pillow'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=(3584, side), keep_ratio=True, backend='pillow')
                for side in (256, 384, 512, 640, 768, 896)
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
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(type='m2f_mm.IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
