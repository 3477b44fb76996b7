# Boxes start at the tokens' own, not around their masks. No number of this one was published, and we have trained none.
_base_ = ['./mask-dino-4scale_r50_8xb2-lsj-50e_coco.py']
model = dict(panoptic_head=dict(boxes_from_masks='no'))
