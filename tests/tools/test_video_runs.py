"""Videos through our tools and the stack's own: training, evaluation, images, files for an evaluation server."""

import json
import zipfile
from pathlib import Path

import pytest

from m2f_mm.datasets.converters.shapes import write_shape_videos, write_shapes
from m2f_mm.datasets.shape_videos import ShapeVideoSpec
from m2f_mm.datasets.shapes import ShapesSpec
from tests.helpers.commands import output_of

mmdet = pytest.importorskip('mmdet')
ROOT = Path(__file__).resolve().parents[2]
SHORT = """
_base_ = __import__('m2f_mm').config_path('demo/mask2former_r18_shape-videos.py')
model = dict(backbone=dict(base_channels=8, stem_channels=8), track_head=dict(in_channels=[8, 16, 32, 64]))
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = dict(num_workers=0, persistent_workers=False)
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2))
"""


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A config outside of the project, a checkpoint, and how a command is run."""
    folder = tmp_path_factory.mktemp('videos')
    write_shape_videos(str(folder / 'data'), ShapeVideoSpec(48, 64, 6), train=3, val=2, progress=False)
    (folder / 'mine.py').write_text(SHORT)

    def run(*command):
        return output_of(*command, cwd=folder, env=dict(SHAPE_VIDEOS_ROOT=str(folder / 'data')))

    output = run(ROOT / 'tools' / 'train.py', 'mine.py', '--work-dir', 'work')
    assert 'youtube_vis/segm_mAP' in output  # validation at the end
    return folder, run


def test_evaluation_with_images(trained):
    """A folder for each video, ground truth beside prediction."""
    folder, run = trained
    output = run(
        ROOT / 'tools' / 'test.py',
        'mine.py',
        'work/iter_2.pth',
        '--work-dir',
        'test',
        '--show-dir',
        'shown',
        '--cfg-options',
        'model.test_cfg.window_size=4',
        'model.test_cfg.window_overlap=2',
        'default_hooks.visualization.score_thr=0',
    )
    assert 'youtube_vis/segm_mAP' in output
    shown = folder / 'shown'
    assert sorted(str(path.relative_to(shown)) for path in shown.glob('*/*')) == [
        f'{video:04d}/{frame:05d}.jpg' for video in range(2) for frame in range(6)
    ]


def test_the_stacks_own_test_tool(trained):
    folder, run = trained
    tool = Path(mmdet.__file__).parent / '.mim' / 'tools' / 'test.py'
    assert 'youtube_vis/segm_mAP' in run(tool, 'mine.py', 'work/iter_2.pth', '--work-dir', 'stock')


def test_files_for_an_evaluation_server(trained):
    folder, run = trained
    annotations = json.loads((folder / 'data' / 'val.json').read_text())
    (folder / 'data' / 'hidden.json').write_text(json.dumps(dict(annotations, annotations=None)))
    output = run(
        ROOT / 'tools' / 'test.py',
        'mine.py',
        'work/iter_2.pth',
        '--work-dir',
        'server',
        '--cfg-options',
        'test_dataloader.dataset.ann_file=hidden.json',
        'test_evaluator.format_only=True',
        'test_evaluator.outfile_prefix=server/found',
    )
    assert 'segm_mAP' not in output
    with zipfile.ZipFile(folder / 'server' / 'found.submission_file.zip') as archive:
        results = json.loads(archive.read('results.json'))
    assert len(results) == 20 and {len(each['segmentations']) for each in results} == {6}
    assert {each['category_id'] for each in results} <= {1, 2, 3, 4} and {each['video_id'] for each in results} == {
        1,
        2,
    }


@pytest.mark.slow
def test_measurements_of_the_documentation(trained):
    """The scripts run; what they find in a trained model is in docs/real_data.md."""
    _, run = trained
    rows = [
        line
        for line in run(
            '-m', 'benchmarks.identity', 'mine.py', 'work/iter_2.pth', '--score-thr', '0', '--device', 'cpu'
        ).splitlines()
        if ' of ' in line and line.startswith('| ')
    ]
    assert len(rows) == 6 and len({row.split(' of ')[-1] for row in rows}) == 1
    output = run(
        '-m',
        'benchmarks.long_video',
        'mine.py',
        'work/iter_2.pth',
        '--size',
        '64',
        '48',
        '--window',
        '5',
        '--overlap',
        '2',
        '--length',
        '12',
    )
    (measured,) = [line.split() for line in output.splitlines() if line.startswith('measured ')]
    assert 0 < int(measured[1]) <= int(measured[2]) and measured[4] == '10'


def test_the_data_set_is_checked(trained):
    folder, run = trained
    assert 'train: 3 items, 0 problems' in run(ROOT / 'tools' / 'check_dataset.py', 'mine.py')
    frame = folder / 'data' / 'train' / 'JPEGImages' / '0001' / '00003.jpg'
    whole = frame.read_bytes()
    frame.write_bytes(b'cut')
    with pytest.raises(AssertionError, match='0001/00003.jpg: is not a readable image'):
        run(ROOT / 'tools' / 'check_dataset.py', 'mine.py')
    frame.write_bytes(whole)


@pytest.mark.slow
def test_still_images_train_a_video_model(trained):
    """Clips out of images, without evaluation; a model of videos goes on from there."""
    folder, run = trained
    write_shapes(str(folder / 'coco'), ShapesSpec(64, 64), train=4, val=1, progress=False)
    (folder / 'still.py').write_text(
        SHORT.replace('shape-videos', 'coco-clips')
        .replace(
            'val_dataloader = dict(num_workers=0, persistent_workers=False)\n'
            'test_dataloader = dict(num_workers=0, persistent_workers=False)\n',
            '',
        )
        .replace(', val_interval=2', '')
        + """
metainfo = dict(classes=('disc', 'square', 'triangle', 'ring'))
model['track_head'].update(num_queries=16, metainfo=dict(_delete_=True, **metainfo))  # as the model of videos
train_dataloader['dataset'] = dict(
    data_root='coco', ann_file='annotations/instances_train.json', data_prefix=dict(img='img_dir/train/'),
    metainfo=metainfo)
"""
    )
    run(ROOT / 'tools' / 'train.py', 'still.py', '--work-dir', 'still')
    output = run(
        ROOT / 'tools' / 'train.py', 'mine.py', '--work-dir', 'after', '--cfg-options', 'load_from=still/iter_2.pth'
    )
    assert 'Load checkpoint from still/iter_2.pth' in output and 'size mismatch' not in output


def test_class_counts_are_compared(trained):
    folder, run = trained
    with pytest.raises(AssertionError, match='track_head.num_things_classes . num_stuff_classes is 5'):
        run(
            ROOT / 'tools' / 'train.py',
            'mine.py',
            '--work-dir',
            'counts',
            '--cfg-options',
            'model.track_head.metainfo=None',
            'model.track_head.num_things_classes=5',
        )
