# YouTube-VIS 2021, in the layout of YouTube-VIS 2019; another folder: the variable YTVIS_2021_ROOT.
_base_ = ['./youtube_vis_2019.py']
data_root = '{{$YTVIS_2021_ROOT:data/ytvis_2021}}/'
dataset_type = 'm2f_mm.YouTubeVIS2021Dataset'
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
