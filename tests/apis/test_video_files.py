"""Videos in, tracks and videos out: whole files or none, frames that cannot be read, and the tool itself."""

import importlib
import json
import resource
import sys
import warnings
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from pycocotools import mask as coco_masks

from m2f_mm.apis.video import drawn_frames, load_video_model, predict_video, tracks_as_json
from m2f_mm.apis.video_files import open_video, write_frames, write_video
from m2f_mm.datasets.shape_videos import ShapeVideo, ShapeVideoSpec
from m2f_mm.structures import Track

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs' / 'demo' / 'mask2former_r18_shape-videos.py'


def shown(length=9):
    """BGR frames."""
    video = ShapeVideo(ShapeVideoSpec(48, 64, length), np.random.default_rng(0))
    return [np.ascontiguousarray(image[..., ::-1]) for image, _ in video]


def breaks_off():
    yield from shown()[:3]
    raise RuntimeError('no more')


@pytest.fixture(params=['h264', 'mpeg4'])
def codec(request, monkeypatch):
    """What videos are written with; without ``av`` as if it were not installed."""
    if request.param == 'h264':
        pytest.importorskip('av', reason='H.264: pip install -r requirements/video.txt')
    else:
        monkeypatch.setitem(sys.modules, 'av', None)
    return request.param


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'clip').mkdir()
    for t, frame in enumerate(shown()):
        cv2.imwrite(str(tmp_path / 'clip' / f'{t:05d}.png'), frame)
    (tmp_path / 'clip' / 'notes.txt').write_text('no frame')
    return tmp_path / 'clip'


@pytest.fixture
def video_demo(monkeypatch):
    """The tool as a module."""
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    return importlib.import_module('video_demo')


def test_a_folder_and_a_file_hold_the_same_frames(folder, tmp_path, codec):
    frames = list(open_video(folder, fps=12))
    assert len(frames) == 9 and all(np.array_equal(*pair) for pair in zip(frames, shown()))
    write_video(tmp_path / 'out' / 'clip.mp4', frames, 12)
    video = open_video(tmp_path / 'out' / 'clip.mp4')
    assert video.fps == 12 and video.length == 9
    for _ in range(2):  # it can be read again
        again = list(video)
        assert len(again) == 9 and all(np.abs(a.astype(int) - b).mean() < 8 for a, b in zip(again, frames))
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['clip.mp4']


def test_a_video_that_breaks_off_is_not_left_behind(tmp_path, codec):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'clip.mp4').write_bytes(b'an older one')
    with pytest.raises(RuntimeError, match='no more'):
        write_video(tmp_path / 'out' / 'clip.mp4', breaks_off(), 25)
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['clip.mp4']
    assert (tmp_path / 'out' / 'clip.mp4').read_bytes() == b'an older one'


def test_frames_as_a_folder(tmp_path):
    write_frames(tmp_path / 'new' / 'clip', shown(3), ['a.jpg', 'b.jpg', 'c.jpg'])
    video = open_video(tmp_path / 'new' / 'clip')
    assert video.frames == ['a.png', 'b.png', 'c.png']
    assert all(np.array_equal(*pair) for pair in zip(video, shown(3)))
    with pytest.raises(FileExistsError, match='clip is there already'):
        write_frames(tmp_path / 'new' / 'clip', shown(2))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(RuntimeError, match='no more'):
        write_frames(tmp_path / 'empty', breaks_off())
    assert {path.name for path in tmp_path.iterdir()} == {'new', 'empty'} and not any((tmp_path / 'empty').iterdir())
    write_frames(tmp_path / 'empty', shown(2))
    assert open_video(tmp_path / 'empty').frames == ['000000.png', '000001.png']


def test_frames_whose_names_differ_in_the_suffix(tmp_path):
    write_frames(tmp_path / 'clip', shown(3), ['a.jpg', 'a.png', 'b.png'])
    assert open_video(tmp_path / 'clip').frames == ['a.jpg.png', 'a.png.png', 'b.png.png']


def test_numbers_in_names_count(tmp_path):
    for name in ('10', '9', '1', '009', 'x2y10', 'x2y9', '\N{SUPERSCRIPT TWO}'):
        cv2.imwrite(str(tmp_path / f'{name}.png'), shown(1)[0])
    assert open_video(tmp_path).frames == [
        '1.png',
        '009.png',
        '9.png',
        '10.png',
        'x2y9.png',
        'x2y10.png',
        '\N{SUPERSCRIPT TWO}.png',
    ]


def test_odd_sides_and_impossible_rates(tmp_path, codec):
    write_video(tmp_path / 'odd.mp4', [frame[:47, :63] for frame in shown(3)], 25)
    for before, after in zip(shown(3), open_video(tmp_path / 'odd.mp4')):
        assert after.shape == (48, 64, 3) and np.abs(before[:47, :63].astype(int) - after[:47, :63]).mean() < 8
    with pytest.raises(ValueError, match='with 90000 frames per second of .48, 64. pixels'):
        write_video(tmp_path / 'fast.mp4', shown(3), 90000)
    with pytest.raises(ValueError, match='none.xyz cannot be written with 25 frames'):
        write_video(tmp_path / 'none.xyz', shown(3), 25)
    assert [path.name for path in tmp_path.iterdir()] == ['odd.mp4']


def test_a_disk_that_is_full(tmp_path, codec):
    """A limit on the size of files does the same."""
    frames = np.random.default_rng(0).integers(0, 256, (40, 96, 128, 3), np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30000, limits[1]))
    try:
        with pytest.raises((OSError, ValueError)) as caught:
            write_video(tmp_path / 'clip.mp4', frames, 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    named = 'clip.mp4 cannot be written: File too large' if codec == 'h264' else 'clip.mp4: only 0 of 40 frames'
    assert f'{tmp_path}/{named}' in str(caught.value) and not any(tmp_path.iterdir())


def test_browsers_play_it(tmp_path):
    """H.264 with 4:2:0 colors, the index before the frames, and colors that say how they were made."""
    av = pytest.importorskip('av', reason='H.264: pip install -r requirements/video.txt')
    frames = [np.full((48, 64, 3), (20 * t, 30, 200), np.uint8) for t in range(9)]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        write_video(tmp_path / 'clip.mp4', iter(frames), 29.97)
    content = (tmp_path / 'clip.mp4').read_bytes()
    assert 0 < content.index(b'moov') < content.index(b'mdat')
    with av.open(str(tmp_path / 'clip.mp4')) as file:
        (stream,) = file.streams.video
        assert stream.codec_context.name == 'h264' and stream.codec_context.pix_fmt == 'yuv420p'
        assert abs(float(stream.average_rate) - 29.97) < 1e-3 and stream.frames == 9
        again = [frame.to_ndarray(format='bgr24') for frame in file.decode(stream)]
    assert len(again) == 9 and all(np.abs(a.astype(int) - b).max() < 8 for a, b in zip(again, frames))
    assert all(np.abs(a.astype(int) - b).max() < 8 for a, b in zip(open_video(tmp_path / 'clip.mp4'), frames))


@pytest.mark.parametrize('codec', ['mpeg4'], indirect=True)
def test_without_h264_one_line_says_how_to_get_it(tmp_path, codec):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('default')
        for name in ('a.mp4', 'b.mp4', 'c.avi'):
            write_video(tmp_path / name, shown(2), 25)
    (warning,) = caught
    assert 'which browsers do not play; for H.264: pip install av' in str(warning.message)
    assert '\n' not in str(warning.message)


def test_frames_that_cannot_be_read_are_named(folder):
    for content in (b'broken', b''):
        (folder / '00004.png').write_bytes(content)
        with pytest.raises(ValueError, match='frame 00004.png of .*clip is not a readable image'):
            list(open_video(folder))
    cv2.imwrite(str(folder / '00004.png'), np.zeros((10, 64, 3), np.uint8))
    with pytest.raises(ValueError, match=r'different sizes: 00000.png \(48, 64\), 00004.png \(10, 64\)'):
        list(open_video(folder))


def test_a_file_that_ends_too_soon(tmp_path, monkeypatch):
    write_video(tmp_path / 'clip.mp4', shown(), 25)
    video = open_video(tmp_path / 'clip.mp4')
    real = cv2.VideoCapture

    class Broken:
        """The file, of which one frame cannot be decoded."""

        def __init__(self, path):
            self.inner, self.count = real(path), 0

        def read(self):
            self.count += 1
            return (False, None) if self.count == 6 else self.inner.read()

        def __getattr__(self, name):
            return getattr(self.inner, name)

    monkeypatch.setattr(cv2, 'VideoCapture', Broken)
    with pytest.raises(ValueError, match=r'frame 5 of .*clip.mp4 cannot be decoded, of 9'):
        list(video)


def run(video_demo, monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['video_demo.py', *map(str, arguments), '--device', 'cpu'])
    video_demo.main()


def test_nothing_beside_the_video_is_written_over(video_demo, folder, tmp_path, checkpoint, monkeypatch):
    """Neither the video itself nor what somebody else has put there under its name."""
    write_video(tmp_path / 'clip.mp4', shown(3), 25)
    before = (tmp_path / 'clip.mp4').read_bytes()
    for video, options, name in (
        (tmp_path / 'clip.mp4', (), 'clip.mp4'),
        (folder, (), 'clip.mp4'),
        (folder, ('--frames',), 'clip'),
        (folder, ('--no-video',), 'clip.json'),
    ):
        if name == 'clip.json':
            (tmp_path / name).write_text('annotations')
        with pytest.raises(SystemExit, match=f'{name} lies beside the video, or is'):
            run(video_demo, monkeypatch, CONFIG, checkpoint, video, '--out-dir', tmp_path, *options)
    assert (tmp_path / 'clip.mp4').read_bytes() == before and (tmp_path / 'clip.json').read_text() == 'annotations'
    (tmp_path / 'clip.json').unlink()
    run(video_demo, monkeypatch, CONFIG, checkpoint, tmp_path / 'clip.mp4', '--out-dir', tmp_path, '--no-video')
    assert (tmp_path / 'clip.mp4').read_bytes() == before and (tmp_path / 'clip.json').is_file()


@pytest.mark.parametrize(
    'config, line, expected',
    [
        ({}, '', dict(window_size=20, window_overlap=5)),
        ({}, '--window 0', dict(window_size=None, window_overlap=0)),
        (dict(window_size=8), '', dict(window_size=8)),
        (dict(window_size=8), '--window 4', dict(window_size=4, window_overlap=3)),
        ({}, '--window 30', dict(window_size=30, window_overlap=5)),
        (dict(window_size=8, window_overlap=2), '--window 6', dict(window_size=6, window_overlap=2)),
        (
            dict(association='frames'),
            '--max-tracks 3',
            dict(association='frames', max_per_video=3, window_size=20),
        ),
        ({}, '--per-frame', dict(association='frames', window_size=20)),
        (dict(window_size=8, window_overlap=2), '--per-frame', dict(association='frames', window_size=8)),
    ],
)
def test_the_command_line_goes_before_the_config(video_demo, config, line, expected):
    video_demo.configure(config, video_demo.parse_args(['c', 'w', 'v', *line.split()]))
    assert config == expected


def test_what_is_no_video(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.mp4'):
        open_video(tmp_path / 'nowhere.mp4')
    (tmp_path / 'text.mp4').write_text('no video')
    with pytest.raises(ValueError, match='text.mp4 is no video that OpenCV can open'):
        open_video(tmp_path / 'text.mp4')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='holds no images'):
        open_video(tmp_path / 'empty')


def test_tracks_are_drawn_and_written(folder):
    mask = np.zeros((48, 64), np.uint8, order='F')
    mask[10:30, 20:40] = 1
    rle = coco_masks.encode(mask)
    tracks = [Track(1, [rle, None] + [rle] * 7, 0.9), Track(0, [rle] * 9, 0.1)]
    frames = shown()
    drawn = list(drawn_frames(open_video(folder), tracks, ('cat', 'dog')))
    for t, (before, after) in enumerate(zip(frames, drawn)):
        changed = (before != after).any(-1)
        assert changed[12:28, 22:38].mean() > 0.9 if t != 1 else not changed.any()
    assert all(np.array_equal(*pair) for pair in zip(frames, drawn_frames(frames, tracks, ('cat', 'dog'), 0.95)))
    written = json.loads(json.dumps(tracks_as_json(open_video(folder), tracks, ('cat', 'dog'))))
    assert written['video']['length'] == 9 and written['video']['file_names'][0] == '00000.png'
    first = written['tracks'][0]
    assert (first['category'], first['score'], first['segmentations'][1]) == ('dog', 0.9, None)
    np.testing.assert_array_equal(coco_masks.decode(first['segmentations'][0]), mask)


def untrained(config, folder, name='model.pth'):
    """A checkpoint of a model that has not learned anything."""
    pytest.importorskip('mmdet.models')
    from mmengine.registry import MODELS, DefaultScope

    cfg = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope('mmdet'):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), folder / name)
    return folder / name


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return untrained(CONFIG, tmp_path_factory.mktemp('weights'))


@pytest.mark.parametrize(
    'options', [(), ('--window', '4', '--overlap', '1'), ('--window', '0'), ('--per-frame',)], ids=' '.join
)
def test_the_tool(video_demo, folder, tmp_path, checkpoint, monkeypatch, options):
    run(video_demo, monkeypatch, CONFIG, checkpoint, folder, '--out-dir', tmp_path / 'out', '--score-thr', 0, *options)
    content = json.loads((tmp_path / 'out' / 'clip.json').read_text())
    assert len(content['tracks']) == 10 and content['classes'] == ['disc', 'square', 'triangle', 'ring']
    assert all(len(track['segmentations']) == 9 for track in content['tracks']) and 'segments' not in content
    assert open_video(tmp_path / 'out' / 'clip.mp4').length == 9


def test_the_tool_draws_into_a_folder(video_demo, folder, tmp_path, checkpoint, monkeypatch):
    out = tmp_path / 'out'
    run(video_demo, monkeypatch, CONFIG, checkpoint, folder, '--out-dir', out, '--score-thr', 0, '--frames')
    drawn = open_video(out / 'clip')
    assert drawn.frames == open_video(folder).frames and (out / 'clip.json').is_file()
    assert any((a != b).any() for a, b in zip(drawn, shown()))
    with pytest.raises(SystemExit, match='clip is there already'):
        run(video_demo, monkeypatch, CONFIG, checkpoint, folder, '--out-dir', out, '--frames')


IMAGES = ROOT / 'configs' / 'demo' / 'mask2former_r18_shapes-panoptic.py'
THRESHOLDS = {'model.test_cfg.object_mask_thr': 0.05, 'model.test_cfg.iou_thr': 0.0}  # show some segments


def test_the_tool_with_a_model_of_images(video_demo, folder, tmp_path, monkeypatch):
    """Things with one number and merged stuff, drawn and written."""
    weights, out = untrained(IMAGES, tmp_path), tmp_path / 'out'
    run(
        video_demo,
        monkeypatch,
        IMAGES,
        weights,
        folder,
        '--out-dir',
        out,
        '--cfg-options',
        *(f'{key}={value}' for key, value in THRESHOLDS.items()),
    )
    content = json.loads((out / 'clip.json').read_text())
    assert len(content['tracks']) == 10 and len(content['segments']) > 1
    assert all(segment['isthing'] == (segment['label'] < 4) for segment in content['segments'])
    labels = [segment['label'] for segment in content['segments'] if not segment['isthing']]
    assert len(labels) == len(set(labels))
    covered = np.zeros((9, 48, 64), int)
    for segment in content['segments']:
        for t, rle in enumerate(segment['segmentations']):
            covered[t] += 0 if rle is None else coco_masks.decode(rle)
    assert covered.max() == 1
    drawn = list(open_video(out / 'clip.mp4'))
    assert len(drawn) == 9 and all(np.abs(a.astype(int) - b).mean() > 8 for a, b in zip(drawn, shown()))
    run(video_demo, monkeypatch, IMAGES, weights, folder, '--out-dir', out, '--no-video')  # no score is that high
    assert json.loads((out / 'clip.json').read_text())['segments'] == []


def test_a_frame_is_an_image_to_a_model_of_images(folder, tmp_path):
    """The panoptic map of a video of one frame is MMDetection's of the image."""
    from mmdet.apis import inference_detector, init_detector

    weights = str(untrained(IMAGES, tmp_path))
    cfg = Config.fromfile(IMAGES)
    cfg.merge_from_dict(THRESHOLDS)
    _, panoptic = predict_video(load_video_model(cfg, weights), list(open_video(folder))[:1])
    segments, covered = panoptic.segment_tracks()
    expected = inference_detector(init_detector(cfg, weights, device='cpu'), str(folder / '00000.png'))
    expected = expected.pred_panoptic_seg.sem_seg[0].numpy()
    panoptic_ids = np.full(expected.shape, len(cfg.model.panoptic_head.metainfo['classes']))  # void
    things = 0
    for segment, track in zip(segments, covered):
        things += segment.is_thing
        panoptic_ids[coco_masks.decode(track.masks[0]).astype(bool)] = segment.label + 1000 * things * segment.is_thing
    assert len(segments) > 1
    np.testing.assert_array_equal(panoptic_ids, expected)


@pytest.mark.parametrize(
    'config, association, classes',
    [
        ('mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py', 'frames', ('person', 133)),
        ('mask2former/mask2former_r50_8xb2-lsj-50e_coco.py', 'frames', ('person', 80)),
        ('mask2former_vis/mask2former_r50_8xb2-8e_youtubevis2019.py', None, ('person', 40)),
        ('mask2former_vis/mask2former_r50_8xb2-8e_youtubevis2021.py', None, ('airplane', 40)),
    ],
)
def test_stock_configs(config, association, classes, tmp_path):
    """Models of MMDetection's own configs become ours; the config that was given does not change."""
    mmdet = pytest.importorskip('mmdet')
    cfg = Config.fromfile(Path(mmdet.__file__).parent / '.mim' / 'configs' / config)
    cfg.model.init_cfg = cfg.model.backbone.init_cfg = None
    if 'panoptic_head' in cfg.model:
        cfg.model.pop('init_cfg')
    cfg.model.backbone.update(base_channels=4, stem_channels=4)
    (cfg.model.get('panoptic_head') or cfg.model.track_head).in_channels = [16, 32, 64, 128]
    before = cfg.pretty_text
    (tmp_path / 'stock.py').write_text(before)
    model = load_video_model(cfg, str(untrained(tmp_path / 'stock.py', tmp_path)))
    assert cfg.pretty_text == before
    assert type(model).__module__ == type(model.track_head).__module__ == 'm2f_mm.integrations.mmdet_video'
    assert model.track_head.test_cfg.get('association') == association
    assert (model.dataset_meta['classes'][0], len(model.dataset_meta['classes'])) == classes
    assert model.data_preprocessor.mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])


def test_configs_of_other_forms(tmp_path):
    """Preprocessor beside the model, data in a wrapper, types as classes, entries that are None."""
    from m2f_mm.datasets import VideoInstanceDataset

    weights = str(untrained(CONFIG, tmp_path))
    cfg = Config.fromfile(CONFIG)
    cfg.data_preprocessor = cfg.model.pop('data_preprocessor')
    cfg.model.test_cfg = None
    cfg.model.track_head.test_cfg = dict(window_size=7)
    cfg.test_dataloader.dataset = dict(
        type='RepeatDataset', times=1, dataset=dict(cfg.test_dataloader.dataset, type=VideoInstanceDataset)
    )
    model = load_video_model(cfg, weights)
    assert model.dataset_meta['classes'] == ('disc', 'square', 'triangle', 'ring')
    assert model.track_head.test_cfg == dict(window_size=7)
    assert len(predict_video(model, shown(2))[0]) == 10
    torch.save(dict(torch.load(weights), meta=dict(dataset_meta=dict(CLASSES=tuple('wxyz')))), tmp_path / 'named.pth')
    assert load_video_model(cfg, str(tmp_path / 'named.pth')).dataset_meta['classes'] == tuple('wxyz')
    cfg.test_dataloader.dataset.dataset.metainfo = cfg.train_dataloader.dataset.metainfo = None
    assert load_video_model(cfg, weights).dataset_meta['classes'] == (
        'disc',
        'square',
        'triangle',
        'ring',
    )  # the head's
    cfg.model.track_head.update(metainfo=None, num_things_classes=4)
    with pytest.raises(ValueError, match='neither the config nor the checkpoint names the classes'):
        load_video_model(cfg, weights)
    cfg.test_dataloader = None
    with pytest.raises(ValueError, match='the config has no test_dataloader'):
        load_video_model(cfg, weights)


@pytest.mark.parametrize(
    'change, named',
    [
        (dict(track_head=dict(num_things_classes=7, metainfo=None)), 'track_head.cls_embed.weight'),
        (dict(backbone=dict(depth=34)), 'backbone.layer1.2.conv1.weight'),
    ],
    ids=['classes', 'backbone'],
)
def test_checkpoints_of_other_models(change, named, tmp_path):
    """No reason to guess."""
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(dict(model=change))
    cfg.test_dataloader.dataset.metainfo = (
        dict(classes=('one',) * 7) if 'track_head' in change else dict(classes=('one',) * 4)
    )
    with pytest.raises(ValueError, match=f'has no weights of the right shape for .*{named}'):
        load_video_model(cfg, str(untrained(CONFIG, tmp_path)))


def test_checkpoints_without_buffers(tmp_path):
    """A frozen batch norm has no parameters, only buffers, and a checkpoint must have them all."""
    cfg = Config.fromfile(CONFIG)
    cfg.model.backbone.norm_cfg = dict(type='m2f_mm.FrozenBN')
    cfg.dump(str(tmp_path / 'config.py'))
    path = untrained(tmp_path / 'config.py', tmp_path)
    model = load_video_model(cfg, str(path))
    buffers = {name for name, _ in model.backbone.named_buffers(prefix='backbone')}
    state = torch.load(path)['state_dict']
    assert 'backbone.bn1.weight' in buffers <= state.keys()
    torch.save(
        dict(state_dict={name: value for name, value in state.items() if name not in buffers}), tmp_path / 'less.pth'
    )
    with pytest.raises(ValueError, match=rf'right shape for {len(buffers)} \(backbone.bn1.weight, .* and buffers'):
        load_video_model(cfg, str(tmp_path / 'less.pth'))


@pytest.mark.parametrize(
    'arguments, message',
    [
        (('CONFIG', 'CHECKPOINT', 'nowhere'), "no video or folder of frames 'nowhere'"),
        (('CONFIG', 'nowhere.pth', 'VIDEO'), "there is no file 'nowhere.pth'"),
        (('OTHER', 'CHECKPOINT', 'VIDEO'), 'MaskFormer with MaskFormerHead cannot track'),
        (('SEMANTIC', 'CHECKPOINT', 'VIDEO'), 'MaskSegmentor with Mask2FormerSegHead cannot track'),
        (
            (
                'CONFIG',
                'CHECKPOINT',
                'VIDEO',
                '--cfg-options',
                'model.track_head.num_things_classes=5',
                'model.track_head.metainfo=None',
            ),
            'the model has 5 classes, but the test data set .* names 4',
        ),
        (('CONFIG', 'CHECKPOINT', 'VIDEO', '--window', '3', '--overlap', '3'), 'cannot share 3'),
    ],
)
def test_mistakes_are_messages(video_demo, folder, tmp_path, checkpoint, monkeypatch, arguments, message):
    names = dict(
        CONFIG=CONFIG,
        CHECKPOINT=checkpoint,
        OTHER=ROOT / 'configs' / 'demo' / 'maskformer_r18_shapes-panoptic.py',
        VIDEO=folder,
        SEMANTIC=ROOT / 'configs' / 'mask2former' / 'mask2former_r50_8xb2-160k_ade20k-512x512.py',
    )
    with pytest.raises(SystemExit, match=message):
        run(
            video_demo,
            monkeypatch,
            *(names.get(each, each) for each in arguments[:3]),
            '--out-dir',
            tmp_path / 'out',
            *arguments[3:],
        )
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    'way',
    [
        dict(window_size=6, window_overlap=2),
        dict(window_size=6, association='frames'),
        dict(window_size=6, window_overlap=2, panoptic_on=True, object_mask_thr=0.1),
    ],
    ids=['clips', 'frames', 'panoptic'],
)
def test_memory_does_not_grow_with_the_video(checkpoint, way):
    """Three times as many frames, by allocation; and no more of them are alive than two windows and the next one."""
    pytest.importorskip('mmdet.models')
    from benchmarks.harness import peak_memory

    cfg = Config.fromfile(CONFIG)
    cfg.model.test_cfg.update(way)
    model = load_video_model(cfg, str(checkpoint))
    peaks, alive, most = [], [], 0

    def frames(length):
        nonlocal most
        for image, _ in ShapeVideo(ShapeVideoSpec(48, 64, length), np.random.default_rng(0)):
            alive.append(weakref.ref(image))
            most = max(most, sum(reference() is not None for reference in alive))
            yield image

    for length in (10, 30):
        peaks.append(peak_memory(lambda length=length: predict_video(model, frames(length))[0]))
    assert peaks[1] < 1.05 * peaks[0] and most <= 13
