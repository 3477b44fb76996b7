# AP 46.4 published (official model zoo, 51130652_3); not re-run by us.
_base_ = [
    '../_base_/models/mask2former_r50_video.py',
    '../_base_/datasets/youtube_vis_2019.py',
    '../_base_/schedules/video_6k.py',
    '../_base_/video_runtime.py',
]
model = dict(track_head=dict(metainfo={{_base_.dataset_type}}))  # 40 things
load_from = 'm2f_mm://mask2former_r50_8xb2-lsj-50e_coco'  # the image model; its class layer starts anew
