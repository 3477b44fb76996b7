# Generated videos in the format of YouTube-VIS: python tools/dataset_converters/make_shape_videos.py
#
# Another folder: the variable SHAPE_VIDEOS_ROOT, or data_root of the data sets.
_base_ = ['./loaders.py']
data_root = '{{$SHAPE_VIDEOS_ROOT:data/shape_videos}}/'
dataset_type = 'm2f_mm.VideoInstanceDataset'
image_size = (128, 96)
metainfo = dict(
    classes=('disc', 'square', 'triangle', 'ring'),
    palette=[(220, 60, 50), (70, 90, 230), (240, 200, 40), (190, 70, 200)],
)

train_pipeline = [
    dict(type='UniformRefFrameSample', num_ref_imgs=1, frame_range=20),
    dict(
        type='TransformBroadcaster',
        share_random_params=True,
        transforms=[
            dict(type='m2f_mm.LoadImage'),
            dict(type='m2f_mm.LoadTrackAnnotations', with_mask=True),
            dict(type='Resize', scale=image_size, keep_ratio=True, backend='pillow'),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(type='m2f_mm.PackClipInputs'),
]
test_pipeline = [
    dict(
        type='TransformBroadcaster',
        transforms=[
            dict(type='m2f_mm.LoadImage'),
            dict(type='Resize', scale=image_size, keep_ratio=True, backend='pillow'),
        ],
    ),
    dict(
        type='m2f_mm.PackClipInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'frame_id',
            'video_id',
            'video_length',
            'ori_video_length',
            'instances',
        ),
    ),
]

train_dataloader = dict(
    batch_size=6,
    num_workers=1,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='train.json',
        data_prefix=dict(img_path='train/JPEGImages/'),
        metainfo=metainfo,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='val.json',
        data_prefix=dict(img_path='val/JPEGImages/'),
        metainfo=metainfo,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='m2f_mm.YouTubeVISMetric')
test_evaluator = val_evaluator
