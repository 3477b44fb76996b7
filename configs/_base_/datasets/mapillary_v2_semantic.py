# Mapillary Vistas v2.0 semantic segmentation (MMSegmentation), with the sizes and crops of v1.2's recipe, 124 classes;
# there is no published model.
#
#   data/mapillary_vistas/{training,validation}/images/*.jpg
#   data/mapillary_vistas/{training,validation}/v2.0/labels/*.png
#
# As downloaded. The last class is "Unlabeled".
_base_ = ['./mapillary_semantic.py']
dataset_type = 'MapillaryDataset_v2'
train_dataloader = dict(dataset=dict(type=dataset_type, data_prefix=dict(seg_map_path='training/v2.0/labels')))
val_dataloader = dict(dataset=dict(type=dataset_type, data_prefix=dict(seg_map_path='validation/v2.0/labels')))
test_dataloader = val_dataloader
