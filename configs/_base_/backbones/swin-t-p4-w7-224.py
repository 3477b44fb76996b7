# Swin-T, ImageNet-1k at 224 pixels. A model takes `backbone` whole; its output norms start from scratch.
backbone = dict(
    type='SwinTransformer',
    pretrain_img_size=224,
    embed_dims=96,
    depths=(2, 2, 6, 2),
    num_heads=(3, 6, 12, 24),
    window_size=7,
    drop_path_rate=0.3,
    init_cfg=dict(type='Pretrained', checkpoint='m2f_mm://swin_tiny_patch4_window7_224'),
)
in_channels = [96, 192, 384, 768]
