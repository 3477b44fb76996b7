# OVIS, which the official code lacks; iterations and test sizes as MinVIS. No number of this one was published, and we
# have trained none.
_base_ = [
    '../_base_/models/mask2former_r50_video.py',
    '../_base_/datasets/ovis.py',
    '../_base_/schedules/video_10k.py',
    '../_base_/video_runtime.py',
]
model = dict(
    track_head=dict(metainfo={{_base_.dataset_type}}),  # 25 things
    test_cfg=dict(window_size=30, window_overlap=5),
)  # its videos have up to 292 frames
load_from = 'm2f_mm://mask2former_r50_8xb2-lsj-50e_coco'  # the image model; its class layer starts anew
