"""The names of weights in the official (detectron2) models, written out from their structure."""

NORM, AFFINE = ('weight', 'bias', 'running_mean', 'running_var'), ('weight', 'bias')


def spread(*parts):
    """Every combination of the parts' alternatives, joined by dots."""
    names = ['']
    for part in parts:
        part = (part,) if isinstance(part, str) else part
        names = [f'{name}.{piece}'.lstrip('.') for name in names for piece in part]
    return names


def numbers(count):
    return [str(i) for i in range(count)]


def resnet_keys(blocks=(3, 4, 6, 3), stem=('conv1',)):
    names = spread('stem', stem, ('weight', *spread('norm', NORM)))
    for stage, count in zip((2, 3, 4, 5), blocks):
        convs = [*spread(f'res{stage}', numbers(count), ('conv1', 'conv2', 'conv3')), f'res{stage}.0.shortcut']
        names += [*spread(convs, 'weight'), *spread(convs, 'norm', NORM)]
    return names


def resnet101_keys():
    return resnet_keys((3, 4, 23, 3))


def resnet101c_keys():
    return resnet_keys((3, 4, 23, 3), ('conv1', 'conv2', 'conv3'))


def swin_keys():
    names = [*spread('patch_embed', ('proj', 'norm'), AFFINE), *spread(('norm0', 'norm1', 'norm2', 'norm3'), AFFINE)]
    for stage, blocks in enumerate((2, 2, 6, 2)):
        block = spread(f'layers.{stage}.blocks', numbers(blocks))
        names += spread(block, ('norm1', 'norm2', 'attn.qkv', 'attn.proj', 'mlp.fc1', 'mlp.fc2'), AFFINE)
        names += spread(block, 'attn.relative_position_bias_table')
        if stage < 3:
            names += [f'layers.{stage}.downsample.reduction.weight', *spread(f'layers.{stage}.downsample.norm', AFFINE)]
    return names


def detr_keys(part, attentions, layers=6):
    """The layers of a plain transformer encoder or decoder."""
    layer = spread(f'transformer.{part}.layers', numbers(layers))
    attention = ('in_proj_weight', 'in_proj_bias', 'out_proj.weight', 'out_proj.bias')
    norms = ('norm1', 'norm2', 'norm3')[: len(attentions) + 1]
    return [*spread(layer, attentions, attention), *spread(layer, ('linear1', 'linear2', *norms), AFFINE)]


def maskformer_head_keys(encoder):
    """MaskFormer's, with the encoder of the ResNets' panoptic models or without."""
    pixel_decoder = [
        *spread(
            ('adapter_1', 'adapter_2', 'adapter_3', 'layer_1', 'layer_2', 'layer_3', 'layer_4'),
            ('weight', 'norm.weight', 'norm.bias'),
        ),
        *spread('mask_features', AFFINE),
    ]
    predictor = [
        *detr_keys('decoder', ('self_attn', 'multihead_attn')),
        'query_embed.weight',
        *spread('transformer.decoder.norm', AFFINE),
        *spread('class_embed', AFFINE),
        *spread('mask_embed.layers', numbers(3), AFFINE),
    ]
    projection = spread('input_proj', AFFINE)
    if encoder:
        pixel_decoder += [*projection, *detr_keys('encoder', ('self_attn',))]
    else:
        predictor += projection
    return [*spread('sem_seg_head.pixel_decoder', pixel_decoder), *spread('sem_seg_head.predictor', predictor)]


def head_keys():
    encoder = spread('transformer.encoder.layers', numbers(6))
    linear = (
        'self_attn.sampling_offsets',
        'self_attn.attention_weights',
        'self_attn.value_proj',
        'self_attn.output_proj',
        'linear1',
        'linear2',
        'norm1',
        'norm2',
    )
    pixel_decoder = [
        'transformer.level_embed',
        *spread('input_proj', numbers(3), ('0', '1'), AFFINE),
        *spread(encoder, linear, AFFINE),
        *spread('mask_features', AFFINE),
        *spread(('adapter_1', 'layer_1'), ('weight', 'norm.weight', 'norm.bias')),
    ]
    attention = ('in_proj_weight', 'in_proj_bias', 'out_proj.weight', 'out_proj.bias')
    predictor = [
        *spread(('query_feat', 'query_embed', 'level_embed'), 'weight'),
        *spread('transformer_cross_attention_layers', numbers(9), 'multihead_attn', attention),
        *spread('transformer_self_attention_layers', numbers(9), 'self_attn', attention),
        *spread('transformer_ffn_layers', numbers(9), ('linear1', 'linear2'), AFFINE),
        *spread(
            ('transformer_cross_attention_layers', 'transformer_self_attention_layers', 'transformer_ffn_layers'),
            numbers(9),
            'norm',
            AFFINE,
        ),
        *spread('decoder_norm', AFFINE),
        *spread('class_embed', AFFINE),
        *spread('mask_embed.layers', numbers(3), AFFINE),
    ]
    return [*spread('sem_seg_head.pixel_decoder', pixel_decoder), *spread('sem_seg_head.predictor', predictor)]
