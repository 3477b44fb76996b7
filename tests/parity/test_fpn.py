"""The FPN pixel decoder, alone and under the masked-attention decoder, against the recorded official ones."""
import pytest
import torch
from golden import FORWARD, assert_close, cases, load

from m2f_mm.checkpoints import to_openmmlab
from m2f_mm.models import FPNPixelDecoder, Mask2FormerTransformerDecoder, MaskTransformer
from m2f_mm.models import mask_transformer as network
from m2f_mm.structures import attention_mask


def recorded(*, decoder=None):
    """Cases with an FPN pixel decoder, or only those with the given transformer decoder."""
    found = []
    for parameter in cases('maskformer_heads'):
        if parameter.values[0] is None:
            return [parameter]
        tensors = load(parameter.values[0])[1]
        for case in tensors['cases']:
            model = case['cfg']['MODEL']
            if (model['SEM_SEG_HEAD']['PIXEL_DECODER_NAME'] == 'BasePixelDecoder'
                    and 'pixel_decoder' in case['outputs']
                    and decoder in (None, model['MASK_FORMER']['TRANSFORMER_DECODER_NAME'])):
                found.append(pytest.param((case, tensors['features']), id=case['name']))
    return found or [pytest.param(None, marks=pytest.mark.skip(reason='no recorded case with an FPN pixel decoder'))]


def weights(case):
    """Under our names, below ``head.``."""
    return to_openmmlab({f'sem_seg_head.{key}': value for key, value in case['state_dict'].items()}, 'head')


def pixel_decoder(case, features):
    head = case['cfg']['MODEL']['SEM_SEG_HEAD']
    return FPNPixelDecoder([feature.shape[1] for feature in features], head['CONVS_DIM'], head['MASK_DIM'],
                           norm_cfg=dict(type='GN', num_groups=32) if head['NORM'] == 'GN' else None)


def in_order(features):
    return [features[name] for name in ('res2', 'res3', 'res4', 'res5')]


@pytest.mark.parametrize('item', recorded())
def test_pixel_decoder(item):
    case, features = item[0], in_order(item[1])
    expected = case['outputs']['pixel_decoder']
    decoder = pixel_decoder(case, features)
    only = {key: value for key, value in case['state_dict'].items() if 'pixel_decoder.' in key}
    prefix = 'head.pixel_decoder.'
    decoder.load_state_dict({key[len(prefix):]: value for key, value in weights(dict(state_dict=only)).items()})
    mask_features, memories = decoder(features)
    assert_close(mask_features, expected['mask_features'], FORWARD, 'mask features')
    for memory, wanted in zip(memories, expected.get('multi_scale', ())):
        assert_close(memory, wanted, FORWARD, 'memory')


@pytest.mark.parametrize('item', recorded(decoder='MultiScaleMaskedTransformerDecoder'))
def test_masked_decoder(item, monkeypatch):
    """Every prediction and every attention mask of the masked-attention decoder on top of the FPN."""
    case, features = item[0], in_order(item[1])
    settings, outputs = case['cfg']['MODEL'], case['outputs']
    mask_former, head = settings['MASK_FORMER'], settings['SEM_SEG_HEAD']
    model = MaskTransformer(
        pixel_decoder(case, features),
        Mask2FormerTransformerDecoder(mask_former['DEC_LAYERS'] - 1, mask_former['HIDDEN_DIM'], mask_former['NHEADS'],
                                      mask_former['DIM_FEEDFORWARD'], mask_former['PRE_NORM']),
        head['NUM_CLASSES'], mask_former['NUM_OBJECT_QUERIES'], mask_channels=head['MASK_DIM'])
    model.load_state_dict({key[len('head.'):]: value for key, value in weights(case).items()})
    masks = []
    monkeypatch.setattr(network, 'attention_mask',
                        lambda *args: masks.append(attention_mask(*args)) or masks[-1])
    predictions = model.train()(features)
    assert predictions.num_layers == len(outputs['pred_logits'])
    for layer in range(predictions.num_layers):
        assert_close(predictions.class_logits[layer], outputs['pred_logits'][layer], FORWARD, f'logits {layer}')
        logits = torch.stack(predictions.mask_logits(layer))[:, :, 0]
        assert_close(logits, outputs['pred_masks'][layer], FORWARD, f'masks {layer}')
    for allowed, blocked, reset in zip(masks, outputs['decoder']['attn_mask'], outputs['decoder']['rows_reset']):
        used = blocked & ~blocked.all(-1, keepdim=True)
        assert torch.equal(~allowed[:, 0], used)
        assert int(blocked.all(-1).sum()) == int(reset)
