# COCO-Stuff-10K semantic segmentation (MMSegmentation), MaskFormer's recipe at 640 pixels: 8 GPUs x 4 images, 171
# classes.
#
#   data/coco/coco_stuff_10k/images/*.jpg and imageLists/{train,test}.txt
#   data/coco/coco_stuff_10k/annotations_detectron2/{train,test}/*.png
#
# The PNGs are made by tools/dataset_converters/coco_stuff10k.py. Another folder: the variable COCO_STUFF_ROOT, or
# data_root of the data sets.
_base_ = ['./ade20k_semantic_640.py']
data_root = '{{$COCO_STUFF_ROOT:data/coco/coco_stuff_10k}}'
dataset_type = 'COCOStuffDataset'
short_sides = list(range(320, 961, 64))
train_pipeline = _base_.train_pipeline
train_pipeline[2].scales = [(_base_.max_size, side) for side in short_sides]
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        ann_file='imageLists/train.txt',
        data_prefix=dict(img_path='images', seg_map_path='annotations_detectron2/train'),
        seg_map_suffix='.png',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        ann_file='imageLists/test.txt',
        data_prefix=dict(img_path='images', seg_map_path='annotations_detectron2/test'),
        seg_map_suffix='.png',
        pipeline=_base_.test_pipeline,
    )
)
test_dataloader = val_dataloader
