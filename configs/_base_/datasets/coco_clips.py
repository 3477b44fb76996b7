# Clips out of COCO's images, which move at random, for pretraining a video model. There is nothing to evaluate: a
# config says so, see configs/demo/mask2former_r18_coco-clips.py.
_base_ = ['./loaders.py']
data_root = '{{$COCO_ROOT:data/coco}}/'
dataset_type = 'm2f_mm.CocoDataset'
backend_args = None

train_pipeline = [
    dict(type='m2f_mm.LoadImage', backend_args=backend_args),
    dict(type='m2f_mm.LoadAnnotations', with_bbox=True, with_mask=True, backend_args=backend_args),
    dict(type='m2f_mm.ResizeShortestEdge', short_sides=[360, 480], max_size=1333),
    dict(type='RandomFlip', prob=0.5),
    dict(type='m2f_mm.ClipFromImage', num_frames=2),
    dict(type='m2f_mm.PackClipInputs'),
]
train_dataloader = dict(
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
        backend_args=backend_args,
    ),
)
