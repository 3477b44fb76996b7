# The generated shapes in MMSegmentation's form: python tools/dataset_converters/make_shapes.py
#
# Another folder: the variable SHAPES_ROOT, or data_root of the data sets.
_base_ = ['./loaders.py']
data_root = '{{$SHAPES_ROOT:data/shapes}}'
dataset_type = 'BaseSegDataset'
crop_size = (128, 128)
metainfo = dict(
    classes=('disc', 'square', 'triangle', 'ring', 'sky', 'ground', 'water'),
    palette=[
        (220, 60, 50),
        (70, 90, 230),
        (240, 200, 40),
        (190, 70, 200),
        (150, 200, 250),
        (130, 100, 60),
        (40, 130, 140),
    ],
)

train_pipeline = [
    dict(type='m2f_mm.LoadImage'),
    dict(type='m2f_mm.LoadLabelMap'),
    dict(type='m2f_mm.ResizeScale', scale=crop_size, ratio_range=(0.8, 1.4)),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=1.0),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=crop_size, pad_val=dict(img=128, seg=255)),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    # The inferencers of OpenMMLab look for this name, so it is not m2f_mm.LoadImage.
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=crop_size, keep_ratio=True, backend='pillow'),
    dict(type='m2f_mm.LoadLabelMap'),
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(side, side), keep_ratio=True, backend='pillow') for side in (96, 128, 160)],
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
    batch_size=8,
    num_workers=2,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='img_dir/train', seg_map_path='ann_dir/train'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='img_dir/val', seg_map_path='ann_dir/val'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='m2f_mm.IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
