# Video instance segmentation of moving shapes on two CPU cores.
_base_ = [
    '../_base_/models/mask2former_r18_small_video.py',
    '../_base_/datasets/shape_videos.py',
    '../_base_/schedules/shapes_1200.py',
    '../_base_/video_runtime.py',
]
# Objects leave so often that it would matter if they taught their query to be no object then. A video has up to four of
# them: fewer queries, and more weight on being none, keep two queries from sharing an object.
model = dict(
    track_head=dict(
        metainfo={{_base_.metainfo}}, num_queries=16, loss_cls=dict(no_object_weight=0.3), last_frame_labels=False
    )
)
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=400, max_keep_ckpts=1))
