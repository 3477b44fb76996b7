"""MaskFormer's parts against the recorded official ones: the FPN pixel decoders, alone and under both transformer
decoders; the per-pixel baselines."""

import pytest
import torch
from mmengine.structures import PixelData

from m2f_mm.checkpoints import to_official, to_openmmlab
from m2f_mm.mask_ops import attention_mask
from m2f_mm.models import recorder
from tests.helpers.golden import FORWARD, GRADIENT, LOSS, assert_close, cases, check_predictions, load
from tests.helpers.official_configs import FEATURES, MASKFORMER, build_maskformer_head, maskformer_pixel_decoder


def recorded(condition):
    """pytest parameters: the recorded (case, features, labels) that meet the condition."""
    parameters = []
    for parameter in cases('maskformer_heads'):
        if parameter.values[0] is None:
            return [parameter]
        tensors = load(parameter.values[0])[1]
        shared = in_order(tensors['features']), tensors['sem_seg_target']
        parameters += [pytest.param((case, *shared), id=case['name']) for case in tensors['cases'] if condition(case)]
    return parameters or [pytest.param(None, marks=pytest.mark.skip(reason='no recorded case of this kind'))]


def in_order(features):
    return [features[name] for name in FEATURES]


def weights(case):
    """Under our names, below ``head.``."""
    return to_openmmlab({f'sem_seg_head.{key}': value for key, value in case['state_dict'].items()}, 'head')


def build(case, features):
    """The network that a recorded configuration describes, with the recorded weights, in training mode."""
    model = build_maskformer_head(case['cfg'], [feature.shape[1] for feature in features])
    model.load_state_dict({key[len('head.') :]: value for key, value in weights(case).items()})
    return model.train()


def has_pixel_decoder(case):
    return 'pixel_decoder' in case['outputs']


@pytest.mark.parametrize('item', recorded(has_pixel_decoder))
def test_pixel_decoder(item):
    case, features, _ = item
    expected = case['outputs']['pixel_decoder']
    prefix = 'head.pixel_decoder.'
    state = {key[len(prefix) :]: value for key, value in weights(case).items() if key.startswith(prefix)}
    decoder = maskformer_pixel_decoder(case['cfg'], [feature.shape[1] for feature in features])
    decoder.load_state_dict(state)
    mask_features, memories = decoder(features)
    assert_close(mask_features, expected['mask_features'], FORWARD, 'mask features')
    assert len(memories) == 3
    for memory, reference in zip(memories, expected.get('multi_scale', ())):
        assert_close(memory, reference, FORWARD, 'memory')
    if 'transformer_encoder_features' in expected:
        decoder.memory = 'coarsest'
        [memory] = decoder(features)[1]
        assert_close(memory, expected['transformer_encoder_features'], FORWARD, 'encoded')


@pytest.mark.parametrize('item', recorded(has_pixel_decoder))
def test_every_prediction(item, monkeypatch):
    """Class logits and masks of every layer; attention masks where the decoder has them."""
    case, features, _ = item
    outputs, masks, queries = case['outputs'], [], []
    model = build(case, features)
    monkeypatch.setattr(recorder, 'attention_mask', lambda *args: masks.append(attention_mask(*args)) or masks[-1])
    model.cls_embed.register_forward_pre_hook(lambda _, inputs: queries.append(inputs[0]))
    predictions = model(features)
    check_predictions(predictions, outputs)
    for query, expected in zip(queries, outputs['decoder'].get('hs', ())):
        assert_close(query, expected, FORWARD, 'queries')
    for allowed, blocked, reset in zip(
        masks, outputs['decoder'].get('attn_mask', ()), outputs['decoder'].get('rows_reset', ())
    ):
        used = blocked & ~blocked.all(-1, keepdim=True)
        assert torch.equal(~allowed[:, 0], used)
        assert int(blocked.all(-1).sum()) == int(reset)
    last = model.eval()(features)
    assert last.num_layers == 1
    assert_close(last.class_logits[0], outputs['pred_logits'][-1], FORWARD, 'logits in evaluation')


@pytest.mark.parametrize('item', recorded(has_pixel_decoder))
def test_weights_convert_back(item):
    case, features, _ = item
    state = {f'head.{name}': value for name, value in build(case, features).state_dict().items()}
    back, official = to_official(state, 'head'), case['state_dict']
    assert back.keys() == {f'sem_seg_head.{key}' for key in official}
    assert all(torch.equal(back[f'sem_seg_head.{key}'], value) for key, value in official.items())


def baseline(case, features):
    """The head of a per-pixel baseline as the configuration describes it, with the recorded weights."""
    heads = pytest.importorskip('m2f_mm.integrations.mmseg_per_pixel', reason='needs MMSegmentation')
    MASKFORMER.check(case['cfg'])
    head, transformer = case['cfg']['MODEL']['SEM_SEG_HEAD'], case['cfg']['MODEL']['MASK_FORMER']
    layer = dict(
        num_heads=transformer['NHEADS'],
        feedforward_channels=transformer['DIM_FEEDFORWARD'],
        dropout=transformer['DROPOUT'],
        pre_norm=transformer.get('PRE_NORM', False),
    )
    pixel_decoder = dict(type='FPNPixelDecoder')
    if head['PIXEL_DECODER_NAME'] == 'TransformerEncoderPixelDecoder':
        pixel_decoder = dict(type='TransformerEncoderPixelDecoder', num_layers=head['TRANSFORMER_ENC_LAYERS'], **layer)
    if head['NORM'] != 'GN':
        pixel_decoder['norm_cfg'] = None
    options = dict(
        num_classes=head['NUM_CLASSES'],
        ignore_index=head['IGNORE_VALUE'],
        pixel_decoder=pixel_decoder,
        in_channels=[feature.shape[1] for feature in features],
        feat_channels=head['CONVS_DIM'],
        out_channels=head['MASK_DIM'],
    )
    if head['NAME'] == 'PerPixelBaselineHead':
        model = heads.PerPixelSegHead(**options)
    else:
        assert transformer['NUM_OBJECT_QUERIES'] == head['NUM_CLASSES'], 'a query is a class'
        assert transformer['DEEP_SUPERVISION'], 'the head has no option for it'
        model = heads.PerPixelPlusSegHead(
            **options,
            transformer_decoder=dict(
                num_layers=transformer['DEC_LAYERS'],
                num_encoder_layers=transformer['ENC_LAYERS'],
                embed_dims=transformer['HIDDEN_DIM'],
                **layer,
            ),
            enforce_decoder_input_project=transformer.get('ENFORCE_INPUT_PROJ', False),
        )
    model.load_state_dict({key[len('head.') :]: value for key, value in weights(case).items()})
    return model.train()


@pytest.mark.parametrize('item', recorded(lambda case: 'losses' in case['outputs']))
def test_per_pixel_baselines(item):
    """Logits at the input's size, every loss, the norm of every gradient, and the way back of the weights."""
    from mmseg.structures import SegDataSample

    case, features, labels = item
    outputs, model = case['outputs'], baseline(case, features)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
    losses = model.loss(features, samples)
    expected = outputs['losses']
    official = {
        'loss_sem_seg' + ('' if name == 'loss_ce' else f'_{name[1:].split(".")[0]}'): value
        for name, value in losses.items()
    }
    assert official.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(official[name], value, LOSS, name)
    sum(losses.values()).backward()
    names = weights(dict(state_dict={key: key for key in case['state_dict']}))  # ours to official
    gradients = {names[f'head.{name}']: parameter.grad.norm() for name, parameter in model.named_parameters()}
    assert gradients.keys() == outputs['grad_norm'].keys()
    largest = max(outputs['grad_norm'].values())
    for name, norm in outputs['grad_norm'].items():
        assert abs(float(gradients[name]) - norm) <= max(GRADIENT * norm, 1e-6 * largest), name
    size = tuple(labels.shape[-2:])
    logits = model.eval().predict(features, [dict(pad_shape=size)])
    assert_close(logits, outputs['logits'], FORWARD, 'logits')
    back = to_official({f'head.{name}': value for name, value in model.state_dict().items()}, 'head')
    assert all(torch.equal(back[f'sem_seg_head.{key}'], value) for key, value in case['state_dict'].items())
    assert len(back) == len(case['state_dict'])
