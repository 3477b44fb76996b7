# ADE20K with 847 classes, semantic segmentation (MMSegmentation), MaskFormer's recipe at 512 pixels: 8 GPUs x 2
# images.
#
#   data/ade/ADE20K_2021_17_01/images_detectron2/{training,validation}/*.jpg
#   data/ade/ADE20K_2021_17_01/annotations_detectron2/{training,validation}/*.tif
#
# Both are made by tools/dataset_converters/ade20k_full.py. Another folder: the variable ADE_FULL_ROOT, or data_root of
# the data sets. Label 255 is a class, so heads ignore 65535 and metric and padding follow them. Test-time augmentation
# is that of the 150 classes; MaskFormer has none here.
_base_ = ['./ade20k_semantic.py']
data_root = '{{$ADE_FULL_ROOT:data/ade/ADE20K_2021_17_01}}'
dataset_type = 'm2f_mm.ADE20KFullDataset'
train_pipeline = [
    dict(type='m2f_mm.LoadImage'),
    dict(type='m2f_mm.LoadLabelMap'),
    dict(type='m2f_mm.ResizeShortestEdge', short_sides=_base_.short_sides, max_size=_base_.max_size),
    dict(type='RandomCrop', crop_size=_base_.crop_size, cat_max_ratio=1.0),
    dict(type='m2f_mm.ColorAugSSD'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=_base_.crop_size, pad_val=dict(img=128, seg=255)),
    dict(type='PackSegInputs'),
]
test_pipeline = _base_.test_pipeline
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images_detectron2/training', seg_map_path='annotations_detectron2/training'),
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images_detectron2/validation', seg_map_path='annotations_detectron2/validation'),
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
