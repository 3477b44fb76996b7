# COCO panoptic with the sizes and crops of DETR, as MaskFormer was trained: 64 GPUs x 1 image, of any size.
_base_ = ['./coco_panoptic.py']
max_size = 1333  # of the long side
short_sides = list(range(480, 801, 32))
resize = dict(type='m2f_mm.ResizeShortestEdge', short_sides=short_sides, max_size=max_size)
train_pipeline = [
    dict(type='m2f_mm.LoadImage', backend_args=_base_.backend_args),
    dict(type='m2f_mm.LoadPanopticSegments', with_mask=True, backend_args=_base_.backend_args),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomChoice',
        transforms=[
            [resize],
            [
                dict(type='m2f_mm.ResizeShortestEdge', short_sides=(400, 500, 600), max_size=None),
                dict(type='RandomCrop', crop_type='absolute_range', crop_size=(384, 600)),
                resize,
            ],
        ],
    ),
    dict(type='m2f_mm.PackPanopticInputs'),
]
del resize
train_dataloader = dict(batch_size=1, dataset=dict(pipeline=train_pipeline))
val_evaluator = _base_.val_evaluator[:1]  # PQ alone: the models make no instances
test_evaluator = val_evaluator
