"""Mask DINO's rooms against the recorded official ones: the pixel decoder, and the whole network."""
import json

import pytest
import torch
from golden import FORWARD, ROOT, assert_close, build_backbone, cases, load

from m2f_mm.checkpoints import to_official, to_openmmlab
from m2f_mm.models import MaskDINO, MaskDINOTransformerDecoder, MSDeformAttnPixelDecoder, RandomNoise
from m2f_mm.structures import SegTargets

FEATURES = ('res2', 'res3', 'res4', 'res5')


@pytest.mark.parametrize('path', cases('mdino_pixel_decoder'))
def test_pixel_decoder(path):
    """Any number of levels, both orders, and the finest feature in the encoder."""
    _, recorded = load(path)
    features = [recorded['features'][name] for name in FEATURES]
    for variant in recorded['variants']:
        settings, outputs = variant['settings'], variant['outputs']
        seen, levels = len(settings['transformer_in_features']), settings['total_num_feature_levels']
        decoder = MSDeformAttnPixelDecoder(
            [feature.shape[1] for feature in features], settings['conv_dim'], settings['mask_dim'], num_outs=levels,
            num_encoder_levels=seen, num_extra_levels=levels - seen, fine_first=settings['feature_order'] == 'low2high',
            always_fpn=True, num_layers=settings['enc_layers'], num_heads=settings['nheads'],
            feedforward_channels=settings['dim_feedforward'],
            norm_cfg=dict(type='GN', num_groups=32) if settings['norm'] == 'GN' else None)
        official = {f'sem_seg_head.pixel_decoder.{key}': value for key, value in variant['state_dict'].items()}
        weights = to_openmmlab(official)
        back = to_official(weights)
        assert back.keys() == official.keys() and all(torch.equal(back[key], official[key]) for key in official)
        prefix = 'panoptic_head.pixel_decoder.'
        decoder.load_state_dict({key[len(prefix):]: value for key, value in weights.items()})
        mask_features, memories = decoder(features)
        assert_close(mask_features, outputs['mask_features'], FORWARD, f'{variant["name"]}: mask features')
        assert len(memories) == len(outputs['multi_scale']) == levels
        for memory, wanted in zip(memories, outputs['multi_scale']):
            assert_close(memory, wanted, FORWARD, f'{variant["name"]}: memory')


class OfficialMaskDINO(torch.nn.Module):
    """Backbone and network as a detectron2 configuration describes them, under our names."""

    def __init__(self, cfg):
        super().__init__()
        head, dino = cfg['MODEL']['SEM_SEG_HEAD'], cfg['MODEL']['MaskDINO']
        self.backbone, channels = build_backbone(cfg)
        seen, levels = len(head['DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES']), head['TOTAL_NUM_FEATURE_LEVELS']
        pixel_decoder = MSDeformAttnPixelDecoder(
            channels, head['CONVS_DIM'], head['MASK_DIM'], num_outs=levels, num_encoder_levels=seen,
            num_extra_levels=levels - seen, fine_first=head['FEATURE_ORDER'] == 'low2high', always_fpn=True,
            num_layers=head['TRANSFORMER_ENC_LAYERS'], num_heads=dino['NHEADS'],
            feedforward_channels=head['DIM_FEEDFORWARD'],
            norm_cfg=dict(type='GN', num_groups=32) if head['NORM'] == 'GN' else None)
        decoder = MaskDINOTransformerDecoder(dino['DEC_LAYERS'], dino['HIDDEN_DIM'], dino['NHEADS'], levels,
                                             feedforward_channels=dino['DIM_FEEDFORWARD'])
        self.panoptic_head = MaskDINO(
            pixel_decoder, decoder, head['NUM_CLASSES'], dino['NUM_OBJECT_QUERIES'], levels,
            two_stage=dino['TWO_STAGE'], learned_content=dino['LEARN_TGT'],
            boxes_from_masks=dino['INITIALIZE_BOX_TYPE'], denoising_queries=dino['DN_NUM'],
            noise_scale=dino['DN_NOISE_SCALE'], initial_prediction=dino['INITIAL_PRED'],
            no_object=dino['SEMANTIC_CE_LOSS'], mask_channels=head['MASK_DIM'],
            project_memory=dino['ENFORCE_INPUT_PROJ'])


def whole_cases():
    """pytest parameters: (configuration, recording) of every recorded network."""
    found = []
    for path in sorted(ROOT.glob('*.json')):
        info = json.loads(path.read_text())
        if info.get('kind') == 'mdino':
            recorded = torch.load(path.with_suffix('.pt'), weights_only=True)
            found += [pytest.param((case, recorded[name]), id=name) for name, case in info['cases'].items()]
    return found or [pytest.param(None, marks=pytest.mark.skip(reason='no recorded mdino case'))]


@pytest.fixture(scope='module', params=whole_cases())
def case(request):
    info, recorded = request.param
    model = OfficialMaskDINO(info['cfg'])
    missing, unexpected = model.load_state_dict(to_openmmlab(recorded['state_dict']), strict=False)
    assert not unexpected and not missing
    return info, recorded, model


def features_of(recorded):
    return [recorded['outputs']['features'][name] for name in FEATURES]


def test_weights_convert_back(case):
    """The shared modules are stored as often as the official code stores them."""
    _, recorded, model = case
    back = to_official(model.state_dict())
    wanted = {key: value for key, value in recorded['state_dict'].items() if not key.startswith('criterion.')}
    assert back.keys() == wanted.keys() and all(torch.equal(back[key], wanted[key]) for key in wanted)


def assert_predictions(found, expected, what, names=('pred_logits', 'pred_masks', 'pred_boxes')):
    """One layer of ours (predictions, index) against a recorded one."""
    predictions, layer = found
    assert_close(predictions.class_logits[layer], expected[names[0]], FORWARD, f'{what}: class logits')
    assert_close(predictions.boxes[layer], expected[names[2]], FORWARD, f'{what}: boxes')
    if expected.get(names[1]) is not None:
        masks = torch.stack(predictions.mask_logits(layer))[:, :, 0]
        assert_close(masks, expected[names[1]], FORWARD, f'{what}: masks')


def test_evaluation(case):
    """The last layer, whatever boxes start from."""
    _, recorded, model = case
    head = model.panoptic_head.eval()
    decoded = []
    hook = head.transformer_decoder.register_forward_hook(lambda *args: decoded.append(args[1:]))
    for kind, run in recorded['outputs']['eval'].items():
        head.boxes_from_masks = kind
        with torch.no_grad():
            predictions = head(features_of(recorded))
        (content, reference, *_), (queries, references) = decoded.pop()
        expected = run['decoder']
        assert_close(content, expected['tgt'], FORWARD, f'{kind}: contents')
        assert_close(reference, expected['refpoints_unsigmoid'], FORWARD, f'{kind}: boxes at the start')
        for query, wanted in zip(queries, expected['hs']):
            assert_close(query, wanted, FORWARD, f'{kind}: queries')
        for boxes, wanted in zip(references, expected['references']):
            assert_close(boxes, wanted, FORWARD, f'{kind}: references')
        assert predictions.num_layers == 1 and predictions.denoising is None and not predictions.selected
        assert_predictions((predictions, 0), run['outputs'], kind)
    hook.remove()


class ReplayNoise(RandomNoise):
    """The recorded draws of the denoising part."""

    def __init__(self, recorded):
        self.values = [item['value'] for item in recorded if item['tag'] == 'denoising']

    def chance(self, count, device):
        return self.values[0]

    def labels(self, replaced, num_classes):
        return torch.zeros(replaced.shape, dtype=torch.long).masked_scatter(replaced, self.values[1])

    def boxes(self, count, device):
        return self.values[2]


def test_training(case):
    """Every prediction of a training step: for the chosen tokens, of every layer, of the noised objects."""
    _, recorded, model = case
    head = model.panoptic_head.train()
    runs = recorded['outputs']['train']
    objects = next(run['targets'] for run in runs.values() if 'targets' in run)  # the same in every run
    targets = [SegTargets(each['labels'], each['masks'], each['boxes']) for each in objects]
    for kind, run in runs.items():
        if 'outputs' not in run:  # of some runs the losses alone were recorded
            continue
        head.boxes_from_masks = kind
        head.draw = ReplayNoise(recorded['random'][f'train_{kind}'])
        predictions = head(features_of(recorded), targets)
        outputs, first = run['outputs'], int(predictions.selected)
        layers = [*outputs['aux_outputs'], outputs]
        assert predictions.num_layers == len(layers) + first
        if predictions.selected:
            assert_predictions((predictions, 0), outputs['interm_outputs'], f'{kind}: chosen tokens')
        for layer, wanted in enumerate(layers):
            assert_predictions((predictions, layer + first), wanted, f'{kind}: layer {layer}')
        denoised = run['outputs_dn']
        layers = [*denoised['aux_outputs'], denoised][0 if predictions.selected else 1:]
        assert predictions.denoising.num_layers == len(layers) and predictions.groups == run['dn']['scalar']
        for layer, wanted in enumerate(layers):
            assert_predictions((predictions.denoising, layer), wanted, f'{kind}: denoised {layer}')
