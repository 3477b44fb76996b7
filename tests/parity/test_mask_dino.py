"""Mask DINO's parts against the recorded official ones: the pixel decoder, and the whole network."""

import json

import pytest
import torch

from m2f_mm.boxes import box_corners, generalized_iou, masks_to_boxes
from m2f_mm.checkpoints import to_official, to_openmmlab
from m2f_mm.criterion import HungarianAssigner, SetCriterion
from m2f_mm.models import MSDeformAttnPixelDecoder, RandomNoise
from m2f_mm.models.transformer_decoders.mask_dino import inverse_sigmoid
from m2f_mm.postprocess import Sizes, class_scores
from m2f_mm.structures import MaskPredictions, SegTargets
from tests.helpers.golden import (
    FORWARD,
    GRADIENT,
    LOSS,
    ROOT,
    ReplayPoints,
    assert_close,
    assert_matching,
    cases,
    check_gradients,
    load,
    preprocess,
    with_weights,
)
from tests.helpers.golden_results import check_results, official_settings
from tests.helpers.official_configs import (
    FEATURES,
    build_backbone,
    build_mask_dino_head,
    has_no_object,
    padding_divisor,
)


@pytest.mark.parametrize('path', cases('mdino_pixel_decoder'))
def test_pixel_decoder(path):
    """Any number of levels, both orders, and the finest feature in the encoder."""
    _, recorded = load(path)
    features = [recorded['features'][name] for name in FEATURES]
    for variant in recorded['variants']:
        settings, outputs = variant['settings'], variant['outputs']
        inputs, levels = len(settings['transformer_in_features']), settings['total_num_feature_levels']
        decoder = MSDeformAttnPixelDecoder(
            [feature.shape[1] for feature in features],
            settings['conv_dim'],
            settings['mask_dim'],
            num_outs=levels,
            num_encoder_levels=inputs,
            num_extra_levels=levels - inputs,
            fine_first=settings['feature_order'] == 'low2high',
            always_fpn=True,
            num_layers=settings['enc_layers'],
            num_heads=settings['nheads'],
            feedforward_channels=settings['dim_feedforward'],
            norm_cfg=dict(type='GN', num_groups=32) if settings['norm'] == 'GN' else None,
        )
        official = {f'sem_seg_head.pixel_decoder.{key}': value for key, value in variant['state_dict'].items()}
        weights = to_openmmlab(official)
        back = to_official(weights)
        assert back.keys() == official.keys() and all(torch.equal(back[key], official[key]) for key in official)
        prefix = 'panoptic_head.pixel_decoder.'
        decoder.load_state_dict({key[len(prefix) :]: value for key, value in weights.items()})
        mask_features, memories = decoder(features)
        assert_close(mask_features, outputs['mask_features'], FORWARD, f'{variant["name"]}: mask features')
        assert len(memories) == len(outputs['multi_scale']) == levels
        for memory, expected in zip(memories, outputs['multi_scale']):
            assert_close(memory, expected, FORWARD, f'{variant["name"]}: memory')


@pytest.mark.parametrize('path', cases('mdino_pixel_decoder'))
def test_giou_and_boxes_of_masks(path):
    """Small functions alone: generalised IoU of pairs, boxes around masks in both ways, the inverse of the sigmoid."""
    functions = load(path)[1]['functions']
    giou = functions['generalized_box_iou']
    actual = generalized_iou(giou['boxes1_cxcywh'][:, None], giou['boxes2_cxcywh'][None])
    assert_close(actual, giou['out'], LOSS, 'generalised IoU')
    recorded = functions['mask_to_box']
    masks = recorded['masks'].bool()
    height, width = masks.shape[1:]
    for exclusive, name in ((True, 'bitmask_boxes_xyxy'), (False, 'masks_to_boxes_xyxy')):
        corners = torch.cat(box_corners(masks_to_boxes(masks, exclusive)), -1)
        assert_close(corners * torch.tensor([width, height] * 2), recorded[name], LOSS, name)
    logits = functions['inverse_sigmoid']
    assert_close(inverse_sigmoid(logits['in']), logits['out'], LOSS, 'inverse of the sigmoid')


class OfficialMaskDINO(torch.nn.Module):
    """Backbone and network as a detectron2 configuration describes them, under our names."""

    def __init__(self, cfg):
        super().__init__()
        self.backbone, channels = build_backbone(cfg)
        self.panoptic_head = build_mask_dino_head(cfg, channels)


def whole_cases():
    """pytest parameters: (configuration, recording) of every recorded network."""
    parameters = []
    for path in sorted(ROOT.glob('*.json')):
        info = json.loads(path.read_text())
        if info.get('kind') == 'mdino':
            recorded = torch.load(path.with_suffix('.pt'), weights_only=True)
            parameters += [pytest.param((case, recorded[name]), id=name) for name, case in info['cases'].items()]
    return parameters or [pytest.param(None, marks=pytest.mark.skip(reason='no recorded mdino case'))]


@pytest.fixture(scope='module', params=whole_cases())
def case(request):
    info, recorded = request.param
    return info, recorded, with_weights(OfficialMaskDINO(info['cfg']), recorded)


def images_of(info, recorded):
    """The batch, as the official code makes it."""
    cfg = info['cfg']
    pixels = [item['image'].float() for item in recorded['inputs']['images']]
    return preprocess(cfg['MODEL'], pixels, padding_divisor(cfg, 'MaskDINO'))


def features_of(recorded):
    return [recorded['outputs']['features'][name] for name in FEATURES]


def test_weights_convert_back(case):
    """The shared modules are stored as often as the official code stores them."""
    _, recorded, model = case
    back = to_official(model.state_dict())
    expected = {key: value for key, value in recorded['state_dict'].items() if not key.startswith('criterion.')}
    assert back.keys() == expected.keys() and all(torch.equal(back[key], expected[key]) for key in expected)


def assert_predictions(actual, expected, what, names=('pred_logits', 'pred_masks', 'pred_boxes')):
    """One layer of ours (predictions, index) against a recorded one."""
    predictions, layer = actual
    assert_close(predictions.class_logits[layer], expected[names[0]], FORWARD, f'{what}: class logits')
    assert_close(predictions.boxes[layer], expected[names[2]], FORWARD, f'{what}: boxes')
    if expected.get(names[1]) is not None:
        masks = torch.stack(predictions.mask_logits(layer))[:, :, 0]
        assert_close(masks, expected[names[1]], FORWARD, f'{what}: masks')


def test_evaluation(case):
    """The last layer, whatever boxes start from."""
    _, recorded, model = case
    head = model.panoptic_head.eval()
    decoder, started, layers = head.transformer_decoder, [], []
    hooks = [decoder.register_forward_hook(lambda _, args, output: started.append(args))]
    for layer in decoder.layers:
        hooks.append(layer.register_forward_hook(lambda _, args, output: layers.append((args[2], output))))
    for kind, run in recorded['outputs']['eval'].items():
        head.boxes_from_masks = kind
        with torch.no_grad():
            predictions = head(features_of(recorded))
            references, outputs = zip(*layers)
            queries = [decoder.post_norm(query) for query in outputs]
        content, reference, *_ = started.pop()
        layers.clear()
        expected = run['decoder']
        assert_close(content, expected['tgt'], FORWARD, f'{kind}: contents')
        assert_close(reference, expected['refpoints_unsigmoid'], FORWARD, f'{kind}: boxes at the start')
        for query, official in zip(queries, expected['hs']):
            assert_close(query, official, FORWARD, f'{kind}: queries')
        for boxes, official in zip(references, expected['references']):
            assert_close(boxes, official, FORWARD, f'{kind}: references')
        assert predictions.num_layers == 1 and predictions.denoising is None and not predictions.selected
        assert_predictions((predictions, 0), run['outputs'], kind)
    for hook in hooks:
        hook.remove()


def test_results(case):
    """From the image to boxes, masks, segments and classes."""
    info, recorded, model = case
    cfg, test = info['cfg'], info['cfg']['MODEL']['MaskDINO']['TEST']
    batch, model = images_of(info, recorded), model.eval()
    temperature = test['PANO_TEMPERATURE'] if test['PANO_TRANSFORM_EVAL'] else None
    for kind, run in recorded['outputs']['eval'].items():
        if 'results' not in run:
            continue
        model.panoptic_head.boxes_from_masks = kind
        with torch.no_grad():
            predictions = model.panoptic_head(model.backbone(batch))
        for b, (item, expected) in enumerate(zip(recorded['inputs']['images'], run['results'])):
            sizes = Sizes(tuple(batch.shape[-2:]), tuple(item['image'].shape[-2:]), (item['height'], item['width']))
            logits = predictions.class_logits[-1][b]
            check_results(
                logits,
                predictions.mask_embeds[-1][b],
                predictions.mask_features[b],
                sizes,
                info['thing_classes'],
                expected,
                official_settings(test, cfg['TEST']['DETECTIONS_PER_IMAGE']),
                class_scores(logits.shape[-1], cfg['MODEL']['SEM_SEG_HEAD']['NUM_CLASSES'], temperature),
                boxes=predictions.boxes[-1][b],
                mask_quality_in_score=not test['TEST_FOUCUS_ON_BOX'],
            )


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
        for layer, expected in enumerate(layers):
            assert_predictions((predictions, layer + first), expected, f'{kind}: layer {layer}')
        denoised = run['outputs_dn']
        layers = [*denoised['aux_outputs'], denoised][0 if predictions.selected else 1 :]
        assert predictions.denoising.num_layers == len(layers) and predictions.groups == run['dn']['scalar']
        for layer, expected in enumerate(layers):
            assert_predictions((predictions.denoising, layer), expected, f'{kind}: denoised {layer}')


class ReplayAllPoints(ReplayPoints):
    """The recorded draws; layers are counted as the criterion does: chosen tokens, predictions, noised objects."""

    def __init__(self, recorded, predictions):
        super().__init__([item for item in recorded if item['tag'] != 'denoising'], predictions.num_layers)
        self.selected = int(predictions.selected)
        denoised = predictions.denoising.num_layers if predictions.denoising else 0
        self.first_denoised = predictions.num_layers - self.selected - denoised

    def _tag(self, layer):
        if layer >= self.num_layers:
            layer = layer - self.num_layers + self.first_denoised
            last = layer == self.num_layers - self.selected - 1
            return 'dn' if last else f'dn_{layer}'
        if self.selected and layer == 0:
            return 'interm'
        return 'final' if layer == self.num_layers - 1 else f'aux_{layer - self.selected}'


def official_names(losses):
    """``d0.dn_loss_cls`` to ``loss_ce_dn_0`` and so on."""
    terms = dict(loss_cls='loss_ce', loss_iou='loss_giou')
    names = {}
    for name, value in losses.items():
        layer, _, rest = name.rpartition('.')
        part, _, term = rest.rpartition('loss_')
        term = terms.get(f'loss_{term}', f'loss_{term}')
        names[term + dict(enc_='_interm', dn_='_dn').get(part, '') + (f'_{layer[1:]}' if layer else '')] = value
    return names


def by_layer(expected, predictions):
    """What was recorded by tag under the tags of our layers, of which chosen tokens are the first."""
    if not predictions.selected:
        return expected
    layer = dict(interm='aux_0', final='final')
    return {layer.get(tag) or f'aux_{int(tag[4:]) + 1}': value for tag, value in expected.items()}


def check_matching(criterion, predictions, targets, expected, costs):
    """Costs, where they were recorded, and pairs."""
    actual = criterion.assigner.costs(predictions, targets, criterion.draw)
    for tag, images in by_layer(costs, predictions).items():
        layer = -1 if tag == 'final' else int(tag.removeprefix('aux_'))
        for cost, reference in zip(actual[layer], images):
            assert_close(cost, reference, FORWARD, f'cost {tag}')
    matching = criterion.assigner(predictions, targets, criterion.draw)
    assert_matching(matching, by_layer(expected, predictions))


def check_losses(losses, expected, weights, what):
    """Every term with its weight; those that the official code reports as 0 where there is nothing may be missing."""
    scale = dict(zip(('ce', 'mask', 'dice', 'bbox', 'giou'), weights))
    actual = official_names(losses)
    assert actual.keys() == {name for name, value in expected.items() if float(value) or name in actual}
    for name, value in actual.items():
        assert_close(value, expected[name] * scale[name.split('_')[1]], LOSS, f'{what}: {name}')


def criterion_of(num_classes, costs, weights, semantic, no_object, points, oversample, importance, **options):
    """The criterion of a Mask DINO; costs and weights are those of class, mask, dice, box and GIoU."""
    assigner = HungarianAssigner(
        *costs[:3],
        num_points=points,
        l1_weight=costs[3],
        giou_weight=costs[4],
        class_term='focal',
        no_object=semantic,
    )
    return SetCriterion(
        assigner,
        [1.0] * num_classes + [no_object] if semantic else None,
        *weights[:3],
        num_points=points,
        oversample_ratio=oversample,
        importance_ratio=importance,
        **{**dict(loss_l1=weights[3], loss_giou=weights[4]), **options},
    )


def test_losses_and_gradients(case):
    """Pairs, costs, every term with its weight, and the gradients of all parameters and of the features."""
    info, recorded, model = case
    head, dino = model.panoptic_head.train(), info['cfg']['MODEL']['MaskDINO']
    runs = recorded['outputs']['train']
    objects = next(run['targets'] for run in runs.values() if 'targets' in run)
    targets = [SegTargets(each['labels'], each['masks'], each['boxes']) for each in objects]
    terms = ('CLASS', 'MASK', 'DICE', 'BOX', 'GIOU')
    weights = [dino[f'{name}_WEIGHT'] for name in terms]
    criterion = criterion_of(
        head.num_classes,
        [dino[f'COST_{name}_WEIGHT'] for name in terms],
        weights,
        has_no_object(dino),
        dino['NO_OBJECT_WEIGHT'],
        dino['TRAIN_NUM_POINTS'],
        dino['OVERSAMPLE_RATIO'],
        dino['IMPORTANCE_SAMPLE_RATIO'],
        denoise_masks=dino['DN'] == 'seg',
        box_classes=80 if dino['PANO_BOX_LOSS'] else None,
    )
    for kind, run in runs.items():
        model.zero_grad()
        head.boxes_from_masks = kind
        draws = recorded['random'][f'train_{kind}']
        head.draw = ReplayNoise(draws)
        features = list(model.backbone(images_of(info, recorded)))
        for feature in features:
            feature.retain_grad()
        predictions = head(features, targets)
        criterion.draw = ReplayAllPoints(draws, predictions)
        check_matching(criterion, predictions, targets, run['matcher'], run.get('cost', {}))
        losses = criterion(predictions, targets)
        check_losses(losses, run['losses_unweighted'], weights, kind)
        total = sum(losses.values())
        assert_close(total, run['total'], LOSS, f'{kind}: total')
        total.backward()
        check_gradients(recorded, kind, model, run['grads'].get('full_if_numel_le_1024'))
        for name, feature in zip(FEATURES, features):
            if 'feature_grad_norms' in run:
                assert_close(feature.grad.norm(), run['feature_grad_norms'][name], GRADIENT, f'{kind}: {name}')


DESIGNED = [
    pytest.param(designed, id=designed['name'])
    for parameter in cases('mdino_criterion')
    if parameter.values[0]
    for designed in load(parameter.values[0])[1]['cases']
] or cases('mdino_criterion')


@pytest.mark.parametrize('designed', DESIGNED)
def test_criterion(designed):
    """Given masks as lazy masks: the features are the masks of all layers, the embeddings pick them out."""
    settings, expected, given = designed['settings'], designed['outputs'], designed['inputs']['outputs']
    first = [given['interm_outputs']] if 'interm_outputs' in given else []
    layers = [*first, *given['aux_outputs'], given]
    logits, masks, boxes = ([layer[f'pred_{name}'] for layer in layers] for name in ('logits', 'masks', 'boxes'))
    last = [part[-1] for part in (logits, masks, boxes)]
    for leaf in last:
        leaf.requires_grad_()
    queries = masks[0].shape[1]
    picks = torch.eye(queries * len(masks)).split(queries)
    predictions = MaskPredictions.from_lists(
        logits,
        [pick.expand(len(masks[0]), -1, -1) for pick in picks],
        torch.cat(masks, 1)[:, None],
        boxes,
        selected=bool(first),
    )
    targets = [SegTargets(each['labels'], each['masks'], each['boxes']) for each in designed['inputs']['targets']]
    weights = [settings['weights_and_costs'][f'loss_{name}'] for name in ('ce', 'mask', 'dice', 'bbox', 'giou')]
    options = dict(loss_l1=0, loss_giou=0) if 'boxes' not in settings['losses'] else {}
    criterion = criterion_of(
        settings['num_classes'],
        weights,
        weights,
        settings['semantic_ce_loss'],
        settings['eos_coef'],
        settings['num_points'],
        settings['oversample_ratio'],
        settings['importance_sample_ratio'],
        **options,
        box_classes=80 if settings['panoptic_box_loss'] else None,
    )
    criterion.draw = ReplayAllPoints(designed['random'], predictions)
    check_matching(criterion, predictions, targets, expected['matcher'], expected['cost'])
    losses = criterion(predictions, targets)
    check_losses(losses, expected['losses_unweighted'], weights, designed['name'])
    total = sum(losses.values())
    assert_close(total, expected['total_weighted'], LOSS, 'total')
    total.backward()
    for leaf, name in zip(last, ('logits', 'masks', 'boxes')):
        gradient = expected['grad_final'].get(f'pred_{name}')
        if gradient is not None:
            assert_close(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad, gradient, FORWARD, name)
