# What every Mask2Former schedule shares. The official models were trained with AMP: pass --amp on a GPU.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='m2f_mm.Mask2FormerOptimWrapperConstructor',  # backbone lr x 0.1; no decay of norms and embeddings
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05, betas=(0.9, 0.999), eps=1e-8),
    clip_grad=dict(max_norm=0.01, norm_type=2),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
