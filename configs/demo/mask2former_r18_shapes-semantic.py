# The shapes' classes without instances, through MMSegmentation.
_base_ = [
    '../_base_/models/mask2former_r18_small_mmseg.py',
    '../_base_/datasets/shapes_semantic.py',
    '../_base_/schedules/shapes_1200.py',
    '../_base_/mmseg_runtime.py',
]
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}), decode_head=dict(metainfo={{_base_.metainfo}}))
tta_model = dict(type='m2f_mm.SegTTAModel')
train_dataloader = dict(num_workers=1)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=400, max_keep_ckpts=1))
