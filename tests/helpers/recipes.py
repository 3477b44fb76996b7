"""Every released row: its config, and the numbers that the papers and the official configs give for it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / 'configs'


T, S, B, B21, L = (
    'swin-t-p4-w7-224',
    'swin-s-p4-w7-224',
    'swin-b-p4-w12-384',
    'swin-b-p4-w12-384-in21k',
    'swin-l-p4-w12-384-in21k',
)


O365 = 'swin-l-p4-w12-384-objects365'


# Millions of trainable parameters of the official models; their FrozenBN has none.
MASK2FORMER = {
    'r50_8xb2-lsj-50e_coco-panoptic': 43.98,
    'r101_8xb2-lsj-50e_coco-panoptic': 62.92,
    f'{T}_8xb2-lsj-50e_coco-panoptic': 47.44,
    f'{S}_8xb2-lsj-50e_coco-panoptic': 68.75,
    f'{B}_8xb2-lsj-50e_coco-panoptic': 106.92,
    f'{B21}_8xb2-lsj-50e_coco-panoptic': 106.92,
    f'{L}_16xb1-lsj-100e_coco-panoptic': 215.54,
    'r50_8xb2-lsj-50e_coco': 43.97,
    'r101_8xb2-lsj-50e_coco': 62.91,
    f'{T}_8xb2-lsj-50e_coco': 47.42,
    f'{S}_8xb2-lsj-50e_coco': 68.74,
    f'{B}_8xb2-lsj-50e_coco': 106.90,
    f'{B21}_8xb2-lsj-50e_coco': 106.90,
    f'{L}_16xb1-lsj-100e_coco': 215.52,
    'r50_8xb2-160k_ade20k-panoptic': 43.99,
    f'{L}_16xb1-160k_ade20k-panoptic': 215.54,
    'r50_8xb2-160k_ade20k-instance': 43.98,
    f'{L}_16xb1-160k_ade20k-instance': 215.53,
    'r50_8xb2-160k_ade20k-512x512': 43.99,
    'r101_8xb2-160k_ade20k-512x512': 63.03,
    f'{T}_8xb2-160k_ade20k-512x512': 47.44,
    f'{S}_8xb2-160k_ade20k-512x512': 68.76,
    f'{B}_8xb2-160k_ade20k-640x640': 106.92,
    f'{B21}_8xb2-160k_ade20k-640x640': 106.92,
    f'{L}_16xb1-160k_ade20k-640x640': 215.49,
    'r50_8xb2-90k_cityscapes-panoptic': 44.01,
    'r101_8xb2-90k_cityscapes-panoptic': 63.00,
    f'{T}_8xb2-90k_cityscapes-panoptic': 47.41,
    f'{S}_8xb2-90k_cityscapes-panoptic': 68.72,
    f'{B21}_8xb2-90k_cityscapes-panoptic': 106.89,
    f'{L}_16xb1-90k_cityscapes-panoptic': 215.51,
    'r50_8xb2-90k_cityscapes-instance': 44.00,
    'r101_8xb2-90k_cityscapes-instance': 63.00,
    f'{T}_8xb2-90k_cityscapes-instance': 47.40,
    f'{S}_8xb2-90k_cityscapes-instance': 68.72,
    f'{B21}_8xb2-90k_cityscapes-instance': 106.89,
    f'{L}_16xb1-90k_cityscapes-instance': 215.50,
    'r50_8xb2-90k_cityscapes-512x1024': 44.01,
    'r101_8xb2-90k_cityscapes-512x1024': 63.00,
    f'{T}_8xb2-90k_cityscapes-512x1024': 47.41,
    f'{S}_8xb2-90k_cityscapes-512x1024': 68.72,
    f'{B21}_8xb2-90k_cityscapes-512x1024': 106.89,
    f'{L}_16xb1-90k_cityscapes-512x1024': 215.46,
    'r50_8xb2-300k_mapillary-panoptic': 43.97,
    f'{L}_16xb1-300k_mapillary-panoptic': 215.52,
    'r50_8xb2-300k_mapillary-1024x1024': 43.97,
    f'{L}_16xb1-300k_mapillary-1024x1024': 215.47,
}


MASK2FORMER |= {
    f'{backbone}_8xb2-8e_youtubevis{year}': count
    for year in (2019, 2021)
    for backbone, count in {'r50': 43.96, 'r101': 62.90, T: 47.41, S: 68.73, B21: 106.89, L: 215.51}.items()
}


MASKFORMER = {
    'r50_64xb1-ms-300e_coco-panoptic': 45.01,
    'r101_64xb1-ms-300e_coco-panoptic': 63.95,
    f'{T}_64xb1-ms-300e_coco-panoptic': 41.75,
    f'{S}_64xb1-ms-300e_coco-panoptic': 63.07,
    f'{B21}_64xb1-ms-300e_coco-panoptic': 101.83,
    f'{L}_64xb1-ms-300e_coco-panoptic': 211.57,
    'r50_8xb2-720k_ade20k-panoptic': 45.02,
    'r101_8xb2-720k_ade20k-panoptic': 63.96,
    'r50_8xb2-160k_ade20k-512x512': 41.25,
    'r101_8xb2-160k_ade20k-512x512': 60.19,
    'r101c_8xb2-160k_ade20k-512x512': 60.32,
    f'{T}_8xb2-160k_ade20k-512x512': 41.76,
    f'{S}_8xb2-160k_ade20k-512x512': 63.07,
    f'{B21}_8xb2-160k_ade20k-640x640': 101.83,
    f'{L}_8xb2-160k_ade20k-640x640': 211.58,
    'r101_8xb2-90k_cityscapes-512x1024': 60.16,
    'r101c_8xb2-90k_cityscapes-512x1024': 60.28,
    'r50_8xb2-300k_mapillary-1280x1280': 41.23,
    'r50_8xb4-60k_coco-stuff10k-640x640': 41.26,
    'r101_8xb4-60k_coco-stuff10k-640x640': 60.20,
    'r101c_8xb4-60k_coco-stuff10k-640x640': 60.32,
    'r50_8xb2-200k_ade20k-full-512x512': 41.43,
    'r101_8xb2-200k_ade20k-full-512x512': 60.37,
    'r101c_8xb2-200k_ade20k-full-512x512': 60.50,
}


BASELINES = {
    'per-pixel_r50_8xb2-160k_ade20k-512x512': 31.03,
    'per-pixel-plus_r50_8xb2-160k_ade20k-512x512': 41.23,
    'per-pixel_r50_8xb4-60k_coco-stuff10k-640x640': 31.04,
    'per-pixel-plus_r50_8xb4-60k_coco-stuff10k-640x640': 41.23,
    'per-pixel_r50_8xb2-200k_ade20k-full-512x512': 31.21,
    'per-pixel-plus_r50_8xb2-200k_ade20k-full-512x512': 41.41,
}


MASK_DINO = {
    'mask-dino-3scale_r50_8xb2-lsj-50e_coco': 43.82,
    'mask-dino-4scale_r50_8xb2-lsj-50e_coco': 52.06,
    f'mask-dino-5scale-unenhanced_{L}_8xb2-lsj-50e_coco': 222.80,
    f'mask-dino-5scale_{L}_8xb2-lsj-50e_coco': 222.80,
    'mask-dino-4scale_r50_8xb2-lsj-50e_coco-panoptic': 52.09,
    f'mask-dino-5scale_{L}_8xb2-lsj-50e_coco-panoptic': 222.83,
    'mask-dino-3scale_r50_8xb2-160k_ade20k-512x512': 43.81,
    'mask-dino-3scale_r50_8xb2-90k_cityscapes-512x1024': 43.80,
}


# Mask DINO's further configs, without released weights. Without masks: less the two heads and convolutions
# that make them (0.92 million with a ResNet), plus 365 - 80 classes and their embeddings (0.15 million).
FURTHER = {
    'mask-dino-4scale-unenhanced_r50_8xb2-lsj-50e_coco': 52.06,
    'mask-dino-4scale-boxes_r50_32xb2-lsj-26e_objects365': 51.28,
    'mask-dino-4scale_r50-objects365_8xb2-lsj-20e_coco': 52.06,
    f'mask-dino-5scale-boxes_{L}_64xb1-lsj-26e_objects365': 222.04,
    f'mask-dino-5scale_{O365}_16xb1-lsj-20e_coco': 222.80,
    f'mask-dino-5scale_{O365}_16xb1-lsj-20e_coco-panoptic': 222.83,
    # Iterations and test sizes of MinVIS; 40 - 25 classes less than for YouTube-VIS.
    'mask2former_r50_8xb2-10k_ovis': 43.96,
    f'mask2former_{L}_8xb2-10k_ovis': 215.51,
}


ROWS = {f'mask2former_{row}': count for row, count in MASK2FORMER.items()}


ROWS |= {f'maskformer_{row}': count for row, count in MASKFORMER.items()} | BASELINES | MASK_DINO


RELEASED = list(ROWS)


ROWS |= FURTHER


def file_of(row):
    method = row.split('_')[0].split('-')
    folder = dict(mask2former='mask2former', mask='mask_dino').get(method[0], 'maskformer')
    folder += '_video' * row.endswith(('_youtubevis2019', '_youtubevis2021', '_ovis'))
    return f'{folder}/{row}.py'
