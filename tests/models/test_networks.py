"""The networks of the published configs at full size, against numbers of the official modules.

Weights are drawn by their official names and go through the converter, so that names, shapes, order and forward pass
are checked together. No recorded file is needed.
"""

import pytest
import torch
from pycocotools import mask as coco_masks

from benchmarks.harness import kept_memory
from m2f_mm.checkpoints import key_map, to_openmmlab
from m2f_mm.mask_ops import attention_mask, dot
from m2f_mm.models import (
    FPNPixelDecoder,
    Mask2FormerTransformerDecoder,
    MaskFormerTransformerDecoder,
    MaskTransformer,
    MSDeformAttnPixelDecoder,
    TransformerEncoderPixelDecoder,
    mask_transformer,
    recorder,
)
from m2f_mm.models.layers import Position
from m2f_mm.models.layers.recompute import ACTIVATION_CHECKPOINTING
from m2f_mm.postprocess import Sizes, TrackSession
from tests.helpers.official_names import head_keys, maskformer_head_keys, resnet_keys, spread, swin_keys
from tests.helpers.tiny_models import draw


class Network(torch.nn.Module):
    """A backbone of MMDetection and our network, as ``panoptic_head``."""

    def __init__(self, backbone, head):
        super().__init__()
        self.backbone = backbone
        self.panoptic_head = head

    def load_drawn(self, keys):
        """Every tensor from its official name."""
        shapes = {name: tuple(value.shape) for name, value in self.state_dict().items()}
        names = key_map(keys)
        drawn = to_openmmlab({key: draw(key, shapes[name]) for key, name in names.items()})
        missing, unexpected = self.load_state_dict(drawn, strict=False)
        assert not unexpected
        assert all(name.endswith(('num_batches_tracked', 'relative_position_index')) for name in missing), missing
        return self


RESNET, SWIN = [256, 512, 1024, 2048], [96, 192, 384, 768]


def build(channels, head, keys):
    """An R50 or a Swin-T, as the channels say, with a head; everything drawn by its official name."""
    backbones = pytest.importorskip('mmdet.models.backbones')
    if channels == RESNET:
        backbone, names = backbones.ResNet(50, norm_cfg=dict(type='m2f_mm.FrozenBN'), norm_eval=False), resnet_keys()
    else:
        backbone, names = backbones.SwinTransformer(drop_path_rate=0.0), swin_keys()
    return Network(backbone, head).load_drawn([*spread('backbone', names), *keys])


def mask2former(channels, classes=133):
    head = MaskTransformer(MSDeformAttnPixelDecoder(channels), Mask2FormerTransformerDecoder(), classes)
    return build(channels, head, head_keys())


def maskformer(channels, encoder, classes):
    """Without dropout, so that predictions of all layers can be had in training mode."""
    pixel_decoder = (
        TransformerEncoderPixelDecoder(channels, dropout=0.0)
        if encoder
        else FPNPixelDecoder(channels, memory='coarsest')
    )
    head = MaskTransformer(pixel_decoder, MaskFormerTransformerDecoder(dropout=0.0), classes, num_levels=1)
    return build(channels, head, maskformer_head_keys(encoder))


def images(frames=1):
    """(T, 3, 96, 128), made of integers, normalised."""
    t, c, y, x = torch.meshgrid(*map(torch.arange, (frames, 3, 96, 128)), indexing='ij')
    pixels = (7 * x + 13 * y + 29 * c + 17 * t + 5 * ((x * y) % 11)) % 256
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    return (pixels - mean[:, None, None]) / std[:, None, None]


# mean, mean of absolute values, standard deviation, first three, last three
R50 = {
    'res2': (1.004369, 1.004369, 1.172621, (1.38012, 1.193731, 0.6045579), (4.556736, 3.30133, 1.23384)),
    'res5': (0.8729133, 0.8729133, 1.004214, (0.4434446, 0.1990679, 0.0), (0.0, 0.0, 0.0)),
    'mask_features': (
        -0.08181537,
        0.5913517,
        0.7405529,
        (0.1038573, -0.04307905, -0.2112021),
        (-1.501914, -1.446798, -1.449229),
    ),
    'memory0': (
        -0.008475864,
        0.7933339,
        1.007395,
        (0.8248448, 0.3246187, 0.4331988),
        (0.4130279, 0.2982166, 0.09899709),
    ),
    'memory1': (-0.004111366, 0.7993278, 1.008647, (0.385912, 0.3003571, 0.3291049), (0.1882481, 0.2674404, 0.3179162)),
    'memory2': (
        -0.008307541,
        0.7973097,
        1.006028,
        (1.420764, 0.6050949, 0.7343543),
        (-0.1569679, -0.3816796, -0.2522887),
    ),
    'logits0': (0.01346167, 0.7976745, 1.003604, (1.253972, 1.29245, 0.7369356), (-1.986745, -0.8346861, -1.294891)),
    'masks0': (-3.570684, 5.04225, 4.985377, (0.3137205, 1.964948, 0.7633326), (-1.154351, -1.625302, -1.796211)),
    'logits1': (
        -0.1335223,
        0.8798316,
        1.05241,
        (-0.002607167, 1.541645, -0.8400377),
        (-0.5286183, -1.437833, -0.8957342),
    ),
    'masks1': (0.6440696, 1.839543, 2.212726, (3.209595, 3.334718, 5.254021), (-0.6643467, -1.405776, -3.44258)),
    'logits4': (-0.126827, 0.7429112, 0.8998731, (0.2889552, -0.9995846, 0.9420006), (0.1317507, 1.83596, 0.01064223)),
    'masks4': (-6.334523, 6.383565, 2.050347, (-1.618675, 1.77963, 1.967721), (-9.834698, -11.08828, -5.791904)),
    'logits9': (0.01102471, 0.7847679, 0.9765547, (1.364846, 0.2382091, 0.9610706), (0.1056565, -0.253863, 1.621771)),
    'masks9': (1.843052, 2.587965, 2.557605, (2.500169, 3.032223, 4.628929), (-3.646307, -2.842235, -6.784472)),
}
SWIN_TINY = {
    'res2': (
        -0.01973543,
        0.8088417,
        1.019736,
        (1.123921, 0.3512057, -0.1988515),
        (-0.001594113, -0.1078748, -0.1741093),
    ),
    'res5': (
        -0.001334182,
        0.8148636,
        1.017752,
        (-0.9457301, -0.9216748, -0.8229463),
        (0.1021582, 0.2641791, -0.1137756),
    ),
    'mask_features': (
        -0.1062687,
        0.5368094,
        0.6750335,
        (0.1955467, -0.04839982, 0.2536388),
        (-1.114888, -0.7045877, -0.2627144),
    ),
    'memory0': (-0.00558989, 0.7634439, 1.003429, (0.4797033, 0.159646, 0.7521239), (-0.6914745, 0.1373848, -0.175493)),
    'memory1': (
        -0.002209365,
        0.7847389,
        1.008162,
        (0.8080099, 0.678242, 0.4810096),
        (-0.1799335, -0.2152772, -0.4835631),
    ),
    'memory2': (
        -0.006427207,
        0.7746713,
        1.004066,
        (1.123402, -0.2684661, 0.092976),
        (-0.09662843, -0.05312287, -0.7213191),
    ),
    'logits1': (
        -0.141077,
        0.7925985,
        1.011984,
        (0.1239312, -0.09106553, -0.7297307),
        (-0.5278996, -0.5501854, -1.303142),
    ),
    'masks1': (2.324649, 2.83123, 2.491877, (1.080586, 5.225767, 2.694117), (0.2000639, 1.96652, -2.255969)),
    'logits9': (0.03296913, 0.7898194, 0.9685801, (1.113615, 0.75669, 1.67596), (0.0005050302, -0.8180066, 1.752928)),
    'masks9': (0.8202283, 3.182418, 3.950642, (-3.064708, 0.9536526, -0.9336405), (0.1626203, -2.661583, 0.02727497)),
}
# queries that would be blocked everywhere, for the predictions that make an attention mask
BLOCKED = {
    'r50': [62, 0, 0, 0, 100, 100, 0, 100, 100],
    'swin': [28, 0, 0, 0, 100, 100, 0, 100, 0],
    'video': [60, 0, 0, 0, 100, 100, 0, 100, 100],
}
R50_VIDEO = {  # three frames
    'res2': (1.004389, 1.004389, 1.172153, (1.38012, 1.193731, 0.6045579), (4.068095, 3.091015, 0.57816)),
    'res5': (0.8728816, 0.8728816, 1.003477, (0.4434447, 0.1990683, 0.0), (0.0, 0.0, 0.0)),
    'mask_features': (
        -0.08186805,
        0.590997,
        0.7403609,
        (0.1038572, -0.04307905, -0.2112016),
        (-1.748232, -0.7697139, -0.8790968),
    ),
    'memory0': (
        -0.008628588,
        0.7919453,
        1.007453,
        (0.8248456, 0.3246189, 0.4331986),
        (0.5509043, 0.6262287, 0.1829492),
    ),
    'memory2': (
        -0.008283994,
        0.7974085,
        1.006033,
        (1.420765, 0.6050953, 0.734354),
        (0.2069259, -0.2663482, -0.2027923),
    ),
    'logits0': (0.03469758, 0.7981606, 1.006044, (1.253972, 1.29245, 0.7369356), (0.4650454, -0.8739424, 1.203266)),
    'masks0': (-3.616269, 5.056751, 4.965151, (0.3137212, 1.964946, 0.7633311), (-3.069157, -0.9933136, 1.350409)),
    'logits1': (
        -0.1248957,
        0.7947047,
        0.9752478,
        (-0.00035429, 1.54416, -0.8722858),
        (-1.006137, 0.4558137, -0.1957823),
    ),
    'masks1': (0.6691177, 1.885567, 2.249083, (3.164865, 3.387632, 5.312943), (-1.192311, -2.670791, -3.212182)),
    'logits4': (
        -0.1505038,
        0.8472389,
        1.014863,
        (0.2952518, -0.9659234, 0.9202736),
        (-1.445195, -0.3605767, -0.4270056),
    ),
    'masks4': (-6.388697, 6.426616, 2.053613, (-1.523845, 1.746117, 1.980886), (-9.778587, -11.02097, -6.485153)),
    'logits9': (0.2204234, 0.7230379, 0.8288585, (1.33965, 0.2316601, 0.9682077), (0.4770445, 1.189147, 0.8798295)),
    'masks9': (1.762789, 2.48496, 2.470051, (2.495658, 3.011055, 4.613409), (-6.02994, -4.793811, -5.307296)),
}
MINVIS = {  # the same frames, each on its own
    'logits': (0.1920444, 0.7171398, 0.8323807, (1.364847, 0.2382092, 0.9610704), (0.3353863, 1.360489, 1.035547)),
    'masks': (2.782458, 3.228914, 2.544282, (2.500172, 3.032223, 4.628929), (-4.505131, -3.013462, -3.750696)),
    'queries': (
        -0.01023992,
        0.7732093,
        1.007844,
        (-0.3515989, -0.3481003, -0.3490401),
        (0.75721, 0.7595705, 0.7550235),
    ),
    'mean logits': (0.1920444, 0.7131279, 0.8271548, (1.35202, 0.4028704, 0.9615672), (0.3901513, 1.325084, 0.9746823)),
}


MASKFORMER = {
    'r50-panoptic': {
        'memory0': (
            -1.859003e-02,
            0.7650325,
            0.9747316,
            (0.102881, 0.05942999, 0.04773339),
            (0.1845156, 0.1927737, 0.269902),
        ),
        'mask_features': (
            -5.568887e-02,
            0.5454695,
            0.6813523,
            (0.5497937, 0.03764028, -0.3306236),
            (-0.1205026, -0.216493, -0.2026591),
        ),
        'logits0': (
            -6.866582e-02,
            0.7739467,
            0.9764251,
            (-0.7421645, 0.07946748, -1.114824),
            (-0.9042068, -0.535936, 0.1425661),
        ),
        'masks0': (6.603333, 6.639451, 3.057318, (-1.107598, -2.65495, -0.1179848), (4.575315, 9.042862, 5.708052)),
        'logits3': (
            9.933738e-02,
            0.7280167,
            0.8874471,
            (-0.7645491, 1.024394, 0.5614843),
            (0.6856017, -0.8948504, 0.1932762),
        ),
        'masks3': (6.593810, 6.639403, 3.270435, (0.7091428, -0.2329004, 2.756227), (5.082225, 6.286422, 5.825235)),
        'logits5': (
            0.1417612,
            0.8392653,
            1.056810,
            (0.2456615, -1.179828, -0.132983),
            (-0.4595807, 0.6048786, -1.637659),
        ),
        'masks5': (2.535694, 3.349938, 3.192330, (-2.552971, -2.999199, -1.087128), (1.352384, 1.085957, -0.1525609)),
    },
    'r50-semantic': {
        'mask_features': (
            -5.378696e-02,
            0.5495003,
            0.6864270,
            (0.5147972, 0.1301164, -0.3106394),
            (0.003679611, -0.1863007, -0.1789669),
        ),
        'logits0': (
            9.735895e-02,
            0.7484737,
            0.9470786,
            (-0.7577454, -0.8234206, 0.1989495),
            (0.6277204, -0.5691432, 1.184057),
        ),
        'masks0': (7.881685, 7.936649, 3.366956, (-2.404435, -1.630414, 1.131494), (6.787279, 9.226268, 7.302419)),
        'logits5': (
            0.1378623,
            0.7976356,
            0.9565738,
            (0.6205703, -0.3205046, 0.4033614),
            (-1.51193, 0.7392855, 0.6451217),
        ),
        'masks5': (3.991931, 4.292139, 3.138809, (-1.034654, -2.540905, 1.759262), (-0.3058648, 0.5198873, 3.948708)),
    },
    'swin-semantic': {
        'mask_features': (
            -3.933953e-02,
            0.5637297,
            0.7166756,
            (0.3324785, 0.693828, -0.2068266),
            (0.423456, -0.2736335, -0.1866173),
        ),
        'logits5': (
            5.758108e-02,
            0.8324125,
            1.061354,
            (-0.3522133, 0.1211834, 0.6236895),
            (-1.306308, -0.9841773, 2.24592),
        ),
        'masks5': (
            2.742931,
            4.207321,
            4.542898,
            (-0.4530058, -0.7579888, -1.389712),
            (0.2348151, -2.10987, -0.9696424),
        ),
    },
}


def outputs(model, frames=1):
    """Every tensor that the tables know by name."""
    model.train().backbone.eval()
    with torch.no_grad():
        features = model.backbone(images(frames))
        mask_features, memories = model.panoptic_head.pixel_decoder(features)
        predictions = model.panoptic_head(features, num_frames=frames)
    actual = {'res2': features[0], 'res5': features[3], 'mask_features': mask_features}
    actual.update({f'memory{i}': memory for i, memory in enumerate(memories)})
    for layer in range(predictions.num_layers):
        actual[f'logits{layer}'] = predictions.class_logits[layer]
        actual[f'masks{layer}'] = torch.stack(predictions.mask_logits(layer))
    return actual


def compare(name, tensor, row, tolerance):
    mean, absolute, std, first, last = row
    value = tensor.flatten().double()
    numbers = torch.stack((value.mean(), value.abs().mean(), value.std(), *value[:3], *value[-3:]))
    expected = torch.tensor((mean, absolute, std, *first, *last), dtype=torch.float64)
    error = (numbers - expected).abs().max().item()
    assert error <= tolerance * float(value.abs().max()), f'{name}: {numbers} is not {expected}'


@pytest.mark.parametrize(
    'name, channels, table, classes, frames',
    [('r50', RESNET, R50, 133, 1), ('swin', SWIN, SWIN_TINY, 133, 1), ('video', RESNET, R50_VIDEO, 40, 3)],
    ids=['r50', 'swin-tiny', 'video-r50'],
)
def test_published_network(name, channels, table, classes, frames, monkeypatch):
    model = mask2former(channels, classes)
    blocked = []

    def counting(embeds, features):
        logits = dot(embeds[:, None], features.flatten(3))  # (B, T, Q, h * w)
        blocked.append(int((logits < 0).all(-1).all(1).sum()))
        return attention_mask(embeds, features)

    monkeypatch.setattr(recorder, 'attention_mask', counting)
    actual = outputs(model, frames)
    for tensor, row in table.items():
        # One pixel of a late attention mask of the Swin model lies on the threshold: rounding decides.
        compare(tensor, actual[tensor], row, 5e-3 if name == 'swin' and tensor.endswith('9') else 1e-4)
    assert blocked == BLOCKED[name]


def test_published_network_frame_by_frame():
    """MinVIS: vectors of the queries, joined frames, mean logits, results."""
    model = mask2former(RESNET, 40).eval()
    with torch.no_grad():
        predictions = model.panoptic_head(model.backbone(images(3)))
    compare('logits', predictions.class_logits[-1], MINVIS['logits'], 1e-4)
    compare('masks', torch.stack([each[:, 0] for each in predictions.mask_logits()], 1), MINVIS['masks'], 1e-4)
    compare('queries', predictions.queries.permute(2, 0, 1), MINVIS['queries'], 1e-4)
    tracks, sizes = TrackSession(num_tracks=100), Sizes((96, 128), (96, 128), (192, 256))
    for frame in range(3):
        tracks.add(
            predictions.class_logits[-1][frame],
            predictions.mask_embeds[-1][frame],
            predictions.mask_features[frame],
            predictions.queries[frame],
            sizes,
        )
    compare('mean logits', tracks.store.mean_logits, MINVIS['mean logits'], 1e-4)
    actual = tracks.finish()
    assert [track.label for track in actual] == [11] * 10
    assert actual[0].score == pytest.approx(0.070482, abs=1e-6) and actual[-1].score == pytest.approx(
        0.070396, abs=1e-6
    )
    assert sum(map(coco_masks.area, actual[0].masks)) == pytest.approx(132762, abs=5)


@pytest.mark.parametrize(
    'name, channels, encoder, classes, size',
    [
        ('r50-panoptic', RESNET, True, 133, 45_012_038),
        ('r50-semantic', RESNET, False, 150, 41_254_743),
        ('swin-semantic', SWIN, False, 150, None),
    ],
)
def test_published_maskformer(name, channels, encoder, classes, size):
    model = maskformer(channels, encoder, classes)
    assert size in (None, sum(parameter.numel() for parameter in model.parameters()))
    actual = outputs(model)
    assert 'logits5' in actual and 'logits6' not in actual
    for tensor, row in MASKFORMER[name].items():
        compare(tensor, actual[tensor], row, 1e-4)


def test_parameters_of_the_published_network():
    """Buffers of the frozen norms not counted."""
    assert sum(parameter.numel() for parameter in mask2former(RESNET).parameters()) == 43_983_878


def thin_network(pixel_decoder=None, activation_checkpointing='none'):
    torch.manual_seed(0)
    pixel_decoder = pixel_decoder or MSDeformAttnPixelDecoder(
        [4, 8, 12, 16],
        32,
        24,
        num_layers=1,
        num_heads=4,
        feedforward_channels=16,
        activation_checkpointing=activation_checkpointing,
    )
    decoder = Mask2FormerTransformerDecoder(
        num_layers=4,
        embed_dims=32,
        num_heads=4,
        feedforward_channels=16,
        activation_checkpointing=activation_checkpointing,
    )
    model = MaskTransformer(pixel_decoder, decoder, 3, num_queries=5, mask_channels=24)
    model.init_weights()
    return model


def thin_features(batch):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(batch, channels, 32 >> i, 40 >> i, generator=generator) for i, channels in enumerate((4, 8, 12, 16))
    ]


def test_prediction_keeps_the_last_layer_only():
    model, features = thin_network(), thin_features(2)
    every, last = model.train()(features), model.eval()(features)
    assert every.num_layers == 5 and last.num_layers == 1
    torch.testing.assert_close(last.class_logits[-1], every.class_logits[-1])
    torch.testing.assert_close(last.mask_embeds[-1], every.mask_embeds[-1])


def test_start_queries():
    """The learned contents, given explicitly, are what a network starts from by itself."""
    model, features = thin_network().eval(), thin_features(2)
    learned = model.query_feat.weight.expand(2, -1, -1)
    expected, actual = model(features)[-1], model(features, start_queries=learned)[-1]
    assert torch.equal(actual.class_logits, expected.class_logits)
    assert torch.equal(actual.mask_embeds, expected.mask_embeds)
    other = model(features, start_queries=learned.flip(1))[-1]
    assert not torch.equal(other.class_logits, expected.class_logits)
    model.train()(features, start_queries=learned.detach())[-1].class_logits.sum().backward()
    assert torch.equal(model.query_feat.weight.grad, torch.zeros_like(model.query_feat.weight))  # DDP waits for it


def test_extra_queries_that_the_matched_ones_do_not_see():
    """The recorder keeps their predictions apart, and the mask among queries their influence away."""
    model, features = thin_network(), thin_features(2)
    expected = model(features)
    mask_features, memories = model._decode_pixels(features)
    levels = [model._memory(memory, level, 1) for level, memory in enumerate(memories)]
    collected = recorder.PredictionRecorder(model, mask_features, True, [memory.shape[-2:] for memory in memories])
    collected.add_extra_queries(2, groups=1)
    content, positions = (
        torch.cat((torch.randn(2, 32), part.weight)).expand(2, -1, -1) for part in (model.query_feat, model.query_embed)
    )
    extra = torch.arange(7) < 2
    visible = (extra[:, None] | ~extra)[None, None]
    model.transformer_decoder(content, positions, levels, collected, visible)
    predictions = collected.predictions()
    assert len(predictions) == len(predictions.denoising) == len(expected) and predictions.groups == 1
    assert predictions.denoising[-1].class_logits.shape == (2, 2, 4)
    torch.testing.assert_close(predictions.queries, expected.queries)
    for layer, alone in zip(predictions, expected):
        torch.testing.assert_close(layer.class_logits, alone.class_logits)
        torch.testing.assert_close(layer.mask_embeds, alone.mask_embeds)


def test_time_says_nothing_to_a_clip_of_one_frame(monkeypatch):
    """The official video model encodes the time of a single frame, too: the same for every key, so nothing changes."""
    model, features = thin_network(), thin_features(2)
    without = model(features)
    position = mask_transformer.sine_position

    def timed(height, width, num_feats, num_frames, device=None):
        space = position(height, width, num_feats, device=device)
        time = position(1, 1, num_feats, 2, device=device).terms[0][1:]  # a last frame is at 2 pi, as an only one is
        return Position([time, *space.terms])

    monkeypatch.setattr(mask_transformer, 'sine_position', timed)
    for layer, (logits, embeds) in enumerate(zip(model(features).class_logits, model(features).mask_embeds)):
        torch.testing.assert_close(logits, without.class_logits[layer])
        torch.testing.assert_close(embeds, without.mask_embeds[layer])


def test_frames_of_a_clip_share_their_queries():
    predictions = thin_network()(thin_features(6), num_frames=3)
    assert predictions.class_logits[0].shape == (2, 5, 4)
    assert predictions.mask_features.shape == (2, 3, 32, 32, 40)
    assert predictions.mask_logits()[0].shape == (5, 3, 32, 40)


def test_frames_that_make_no_clips():
    with pytest.raises(ValueError, match='7 frames do not make clips of 3'):
        thin_network()(thin_features(7), num_frames=3)


def test_last_projection_of_pixels_goes_into_the_embeddings(monkeypatch):
    """The slow twin: mask features that are made, embeddings as they come out of the network; same gradients, too."""
    model, features = thin_network(), thin_features(2)
    torch.nn.init.normal_(model.pixel_decoder.mask_feature.bias)
    results = []
    for folded in (True, False):
        if not folded:
            monkeypatch.setattr(MSDeformAttnPixelDecoder, 'mask_projection', None)
            monkeypatch.setattr(MSDeformAttnPixelDecoder, 'forward', projecting(MSDeformAttnPixelDecoder.forward))
        model.zero_grad()
        predictions = model(features)
        assert predictions.mask_features.shape[2] == (32 if folded else 24)
        masks = torch.stack([torch.stack(predictions.mask_logits(layer)) for layer in range(predictions.num_layers)])
        masks.square().mean().backward()
        results.append([masks.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    assert len(results[0]) == len(results[1])
    for mine, theirs in zip(*results):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def projecting(forward):
    def run(self, feats):
        features, memories = forward(self, feats, project=False)
        return self.mask_feature(features), memories

    return run


def test_memories_need_not_have_the_decoders_channels():
    fpn = FPNPixelDecoder([4, 8, 12, 16], 64, 24)
    model = thin_network(fpn)
    predictions = model(thin_features(1))
    assert predictions.mask_features.shape == (1, 1, 24, 32, 40)
    sum(x.sum() for x in predictions.class_logits + predictions.mask_embeds + [predictions.mask_features]).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize('levels', [0, 5])
def test_encoder_levels_must_exist(levels):
    with pytest.raises(ValueError, match=f'num_encoder_levels must be 1 to 4.*got {levels}'):
        MSDeformAttnPixelDecoder([4, 8, 12, 16], num_encoder_levels=levels)


def test_initialisation_is_the_official_one():
    """The gaps that matter: level embeddings of unit size, no bias anywhere in the FPN, offsets that look around."""
    model = thin_network()
    decoder = model.pixel_decoder
    assert 0.5 < float(decoder.level_encoding.weight.detach().std()) < 1.5
    assert not decoder.mask_feature.bias.any() and not decoder.input_convs[0].conv.bias.any()
    assert decoder.encoder.layers[0].self_attn.sampling_offsets.bias.any()
    bound = (6 / (32 + 96)) ** 0.5  # Xavier uniform of the three projections stored as one matrix
    weight = model.transformer_decoder.layers[0].cross_attn.attn.in_proj_weight
    assert 0.9 * bound < float(weight.detach().abs().max()) <= bound


def test_recomputing_changes_memory_only():
    """Same gradients from less and less that is kept."""
    kept_bytes, gradients = [], []
    for activation_checkpointing in ACTIVATION_CHECKPOINTING:
        model = thin_network(activation_checkpointing=activation_checkpointing)  # weights from a seed
        features = thin_features(2)
        kept_bytes.append(kept_memory(lambda: model(features)))  # noqa: B023
        predictions = model(features)
        sum(
            x.square().sum() for x in (*predictions.class_logits, *predictions.mask_embeds, predictions.mask_features)
        ).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert kept_bytes == sorted(set(kept_bytes), reverse=True)
    assert kept_bytes[1] < 0.9 * kept_bytes[0] and kept_bytes[-1] < 0.5 * kept_bytes[0]
    for others in gradients[1:]:
        for mine, theirs in zip(gradients[0], others):
            torch.testing.assert_close(mine, theirs)


def test_norms_that_count_what_they_see_are_not_made_again():
    """Batch norms in the FPN: their running mean moves once a step."""
    means = []
    for activation_checkpointing in ('none', 'norms'):
        torch.manual_seed(0)
        decoder = MSDeformAttnPixelDecoder(
            [4, 8, 12, 16],
            32,
            24,
            num_layers=1,
            num_heads=4,
            feedforward_channels=16,
            norm_cfg=dict(type='BN'),
            activation_checkpointing=activation_checkpointing,
        ).train()
        decoder.init_weights()
        decoder(thin_features(2))[0].square().sum().backward()
        means.append(decoder.lateral_convs[0].norm.running_mean)
    assert means[0].any()
    torch.testing.assert_close(*means)


def test_unknown_checkpointing_is_refused():
    with pytest.raises(ValueError, match="activation_checkpointing must be one of .*got 'all'"):
        MSDeformAttnPixelDecoder(activation_checkpointing='all')
