# YouTube-VIS 2019: 8 GPUs x 2 clips of 2 frames that are at most 20 frames apart. The layout is that of the downloads:
#
#   data/ytvis_2019/{train,valid}.json
#   data/ytvis_2019/{train,valid}/JPEGImages/<video>/*.jpg
#
# Another folder: the variable YTVIS_2019_ROOT, or data_root of the data sets. The annotations of valid.json are not
# public: the metric writes a file for the evaluation server. Where they are at hand, val_evaluator.format_only=False.
_base_ = ['./loaders.py']
data_root = '{{$YTVIS_2019_ROOT:data/ytvis_2019}}/'
dataset_type = 'm2f_mm.YouTubeVIS2019Dataset'
backend_args = None

train_pipeline = [
    dict(type='UniformRefFrameSample', num_ref_imgs=1, frame_range=20),
    dict(
        type='TransformBroadcaster',
        share_random_params=True,  # one size and one flip for a clip
        transforms=[
            dict(type='m2f_mm.LoadImage', backend_args=backend_args),
            dict(type='m2f_mm.LoadTrackAnnotations', with_mask=True, backend_args=backend_args),
            dict(type='m2f_mm.ResizeShortestEdge', short_sides=[360, 480], max_size=1333),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(type='m2f_mm.PackClipInputs'),
]
test_pipeline = [
    dict(
        type='TransformBroadcaster',
        transforms=[
            dict(type='m2f_mm.LoadImage', backend_args=backend_args),
            # The official code resizes with Pillow, which smooths when it shrinks; OpenCV does not.
            dict(type='Resize', scale=(1333, 360), keep_ratio=True, backend='pillow'),
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
    batch_sampler=dict(type='TrackAspectRatioBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='train.json',
        data_prefix=dict(img_path='train/JPEGImages/'),
        pipeline=train_pipeline,
        backend_args=backend_args,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='valid.json',
        data_prefix=dict(img_path='valid/JPEGImages/'),
        test_mode=True,
        pipeline=test_pipeline,
        backend_args=backend_args,
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(type='m2f_mm.YouTubeVISMetric', outfile_prefix='youtube_vis_results', format_only=True)
test_evaluator = val_evaluator
