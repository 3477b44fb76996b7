"""The whole video model against the recorded official one: layers, matching, losses, gradients, results."""
import pytest
import torch
from golden import (
    FORWARD,
    GRADIENT,
    LOSS,
    OfficialModel,
    ReplayPoints,
    assert_close,
    assert_matching,
    build_criterion,
    cases,
    load,
    official_loss_names,
    preprocess,
)

from m2f_mm.checkpoints import key_map, to_openmmlab
from m2f_mm.models import mask_transformer
from m2f_mm.postprocess import Sizes, clip_segmentation
from m2f_mm.structures import NO_CLASS, SegTargets, attention_mask


@pytest.fixture(scope='module', params=cases('m2f_video'))
def case(request):
    """(configuration, recording, model with the recorded weights)."""
    info, recorded = load(request.param)
    model = OfficialModel(info['cfg'])
    missing, unexpected = model.load_state_dict(to_openmmlab(recorded['state_dict']), strict=False)
    assert not unexpected and not missing
    return info, recorded, model.train()


def lengths(recorded):
    """Name and T of every recorded length of clips."""
    return [(name, len(clips['videos'][0]['frames'])) for name, clips in recorded['inputs'].items()]


def frames(info, videos):
    """Frames of several clips, one after the other, as the network's input."""
    images = [frame['image'].float() for video in videos for frame in video['frames']]
    return preprocess(info['cfg']['MODEL'], images, info['cfg']['MODEL']['MASK_FORMER']['SIZE_DIVISIBILITY'])


def clip_targets_of(recorded, num_classes):
    """What the official loader made of a clip; class C of objects that are absent from the last frame is ``NO_CLASS``
    here."""
    return [SegTargets(target['labels'].where(target['labels'] < num_classes, NO_CLASS), target['masks'].bool())
            for target in recorded['targets']]


def test_whole_clip(case, monkeypatch):
    """Features, every prediction and attention mask, the queries inside every layer, and the results."""
    info, recorded, model = case
    masks, states = [], []

    def recording_mask(embeds, features):
        masks.append(attention_mask(embeds, features))
        return masks[-1]

    monkeypatch.setattr(mask_transformer, 'attention_mask', recording_mask)
    for layer in model.panoptic_head.transformer_decoder.layers:
        residual = type(layer).residual
        monkeypatch.setattr(layer, 'residual', lambda part, x, compute, layer=layer, residual=residual:
                            states.append(residual(layer, part, x, compute)) or states[-1])
    for name, length in lengths(recorded):
        masks.clear()
        states.clear()
        expected = recorded['outputs'][name]['eval']
        video = recorded['inputs'][name]['videos'][expected['video_index']]
        batch = frames(info, [video])
        features = model.backbone(batch)
        for feature, level in zip(features, ('res2', 'res3', 'res4', 'res5')):
            assert_close(feature, expected['features'][level], FORWARD, level)
        predictions = model.panoptic_head(list(features), num_frames=length)
        decoder = expected['decoder']
        assert predictions.num_layers == len(decoder['pred_logits'])
        for layer in range(predictions.num_layers):
            assert_close(predictions.class_logits[layer], decoder['pred_logits'][layer], FORWARD, f'logits {layer}')
            logits = torch.stack(predictions.mask_logits(layer))
            assert_close(logits, decoder['pred_masks'][layer], FORWARD, f'masks {layer}')
        assert len(masks) == len(decoder['attn_mask_used'])
        for allowed, blocked in zip(masks, decoder['attn_mask_used']):
            assert torch.equal(~allowed[:, 0], blocked)
        for part, state_name in enumerate(('after_cross', 'after_self', 'after_ffn')):
            for state, wanted in zip(states[part::3], decoder[state_name]):
                assert_close(state.transpose(0, 1), wanted, FORWARD, state_name)
        sizes = Sizes(tuple(batch.shape[-2:]), tuple(video['frames'][0]['image'].shape[1:]),
                      tuple(expected['results']['image_size']))
        check_results(predictions, sizes, expected['results'])


def check_results(predictions, sizes, expected):
    """Scores, classes and masks of the ten best pairs, as sets."""
    drawn = list(clip_segmentation(predictions.class_logits[-1][0], predictions.mask_embeds[-1][0],
                                   predictions.mask_features[0], sizes))
    masks = torch.stack([frame.masks for frame in drawn], 1)
    mine, theirs = (
        sorted(zip(labels.tolist(), scores.tolist(), pixels), key=lambda row: row[:2]) for labels, scores, pixels in (
            (drawn[0].labels, drawn[0].scores, masks),
            (expected['pred_labels'], expected['pred_scores'], expected['pred_masks'].bool())))
    assert len(mine) == len(theirs) == 10
    for (label, score, mask), (wanted_label, wanted_score, wanted) in zip(mine, theirs):
        assert label == wanted_label
        assert score == pytest.approx(wanted_score, rel=FORWARD)
        assert (mask != wanted).sum() <= 1  # the float64 run of the official code differs from float32 in a pixel


def test_targets(case):
    """What the official loader makes of annotated frames."""
    structures = pytest.importorskip('mmdet.structures')
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    from m2f_mm.integrations.mmdet_samples import clip_targets
    info, recorded, _ = case
    num_classes = info['cfg']['MODEL']['SEM_SEG_HEAD']['NUM_CLASSES']
    for name, _ in lengths(recorded):
        videos = recorded['inputs'][name]['videos']
        expected = clip_targets_of(recorded['outputs'][name]['train'], num_classes)
        for video, wanted in zip(videos, expected):
            clip = structures.TrackDataSample()
            samples = []
            for frame in video['frames']:
                seen = frame['gt_ids'] >= 0
                masks = frame['gt_masks'][seen].numpy().astype('uint8')
                sample = structures.DetDataSample(metainfo=dict(
                    img_shape=masks.shape[1:], batch_input_shape=tuple(wanted.masks.shape[2:])))
                sample.gt_instances = InstanceData(
                    labels=frame['gt_classes'][seen], instances_ids=frame['gt_ids'][seen],
                    masks=BitmapMasks(masks, *masks.shape[1:]))
                samples.append(sample)
            clip.video_data_samples = samples
            found = clip_targets(clip, 'cpu')
            assert torch.equal(found.labels, wanted.labels) and torch.equal(found.masks, wanted.masks)


def test_training_step(case):
    """Costs, pairs, loss terms and gradients of every parameter of two clips, from the recorded random points."""
    info, recorded, model = case
    num_classes = info['cfg']['MODEL']['SEM_SEG_HEAD']['NUM_CLASSES']
    for name, length in lengths(recorded):
        expected = recorded['outputs'][name]['train']
        model.zero_grad()
        batch = frames(info, recorded['inputs'][name]['videos'])
        predictions = model.panoptic_head(list(model.backbone(batch)), num_frames=length)
        for layer in range(predictions.num_layers):
            assert_close(predictions.class_logits[layer], expected['pred_logits'][layer], FORWARD, f'logits {layer}')
        criterion = build_criterion(info['cfg'], ReplayPoints(recorded['random'][name], predictions.num_layers))
        targets = clip_targets_of(expected, num_classes)
        costs = criterion.assigner.costs(predictions, targets, criterion.draw)
        for layer, of_layer in enumerate(costs):
            tag = 'final' if layer == predictions.num_layers - 1 else f'aux_{layer}'
            for cost, wanted in zip(of_layer, expected['cost'][tag]):
                assert_close(cost, wanted, FORWARD, f'cost {tag}')
        assert_matching(criterion.assigner(predictions, targets, criterion.draw), expected['matcher'])

        losses = criterion(predictions, targets)
        total = sum(losses.values())
        named = official_loss_names(losses)
        assert named.keys() == expected['losses_weighted'].keys()
        for term, value in named.items():
            assert_close(value, expected['losses_weighted'][term], LOSS, term)
        assert_close(total, expected['total'], LOSS, 'total')

        total.backward()
        norms = recorded['grad_norm_float64'][name]
        names, parameters = key_map(recorded['state_dict']), dict(model.named_parameters())
        floor = 1e-4 * max(norms.values())
        for official, wanted in norms.items():
            gradient = parameters[names[official]].grad
            assert gradient is not None, f'{official} received no gradient'
            assert abs(gradient.norm().item() - wanted) <= max(GRADIENT * wanted, floor), official
