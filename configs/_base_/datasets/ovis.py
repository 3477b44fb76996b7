# OVIS, occluded video instance segmentation; another folder: the variable OVIS_ROOT.
#
#   data/ovis/annotations/annotations_{train,valid}.json
#   data/ovis/{train,valid}/<video>/*.jpg
_base_ = ['./youtube_vis_2019.py']
data_root = '{{$OVIS_ROOT:data/ovis}}/'
dataset_type = 'm2f_mm.OVISDataset'
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/annotations_train.json',
        data_prefix=dict(img_path='train/'),
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/annotations_valid.json',
        data_prefix=dict(img_path='valid/'),
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(outfile_prefix='ovis_results')
test_evaluator = val_evaluator
