import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from PIL import Image
from pycocotools import mask as coco_masks

from m2f_mm.registry import VISUALIZERS
from m2f_mm.visualization import PanopticVisualizer

META = dict(
    classes=('cat', 'dog', 'grass'),
    thing_classes=('cat', 'dog'),
    stuff_classes=('grass',),
    palette=[(255, 0, 0), (0, 255, 0), (0, 0, 255)],
)
SEGMENTS = torch.tensor([[0] * 20 + [-1] * 20] * 15 + [[1] * 40] * 15)  # a dog beside void, grass below; 30 x 40
IMAGE = np.full((30, 40, 3), 100, np.uint8)


@pytest.fixture
def visualizer():
    visualizer = PanopticVisualizer(shortest_side=60, alpha=1.0)
    visualizer.dataset_meta = META
    return visualizer


def ground_truth():
    return dict(
        gt_segment_map=PixelData(data=SEGMENTS.to(torch.int16)[None]),
        gt_segments=InstanceData(labels=torch.tensor([1, 2])),
    )


def sample(**fields):
    element = BaseDataElement()
    for name, value in fields.items():
        setattr(element, name, value)
    return element


def panel(drawn, row=0, column=0):
    """The pixels of a panel at the scale of 60 x 80, below its title."""
    bar = 12 + 12
    top = row * (60 + bar) + bar
    left = column * (80 + 4)
    return drawn[top : top + 60, left : left + 80]


def share(pixels, channel):
    """Share of the pixels in which one channel dominates."""
    others = np.delete(pixels.astype(int), channel, axis=-1).max(-1)
    return (pixels[..., channel] > others + 40).mean()


@pytest.mark.smoke
def test_ground_truth_stands_left_and_prediction_right(visualizer):
    encoded = torch.where(SEGMENTS == 1, 2, 3)  # only the grass is found, the rest is void
    drawn = visualizer.draw(IMAGE, sample(**ground_truth(), pred_panoptic_seg=PixelData(sem_seg=encoded[None])))
    assert drawn.shape[1] == 80 + 4 + 80
    left, prediction = panel(drawn), panel(drawn, column=1)
    assert share(left[:30, :40], 1) > 0.5 > share(left[:30, 42:], 1)
    assert share(left[32:], 2) > 0.5 and share(prediction[32:], 2) > 0.5
    assert share(prediction[:28], 1) == 0
    assert (prediction[5:25, 5:75] == 100).all()  # void shows the image itself


def test_every_kind_gets_a_row_with_the_ground_truth_derived(visualizer):
    masks = torch.zeros(2, 30, 40, dtype=torch.bool)
    masks[0, :15, :20], masks[1, 20:, 30:] = True, True
    drawn = visualizer.draw(
        IMAGE,
        sample(
            **ground_truth(),
            pred_panoptic_seg=PixelData(sem_seg=torch.full((1, 30, 40), 2)),
            pred_instances=InstanceData(masks=masks, labels=torch.tensor([1, 0]), scores=torch.tensor([0.9, 0.2])),
            pred_sem_seg=PixelData(sem_seg=torch.where(SEGMENTS == 1, 2, 255)[None]),
        ),
    )
    instances = panel(drawn, row=1, column=1)
    assert share(instances[:28, :38], 1) > 0.5 and share(instances, 0) == 0  # 0.2 is below the threshold
    assert share(panel(drawn, row=1)[:28, :38], 1) > 0.5 and share(panel(drawn, row=1), 2) == 0  # things only
    assert share(panel(drawn, row=2)[32:], 2) > 0.5 and share(panel(drawn, row=2, column=1)[32:], 2) > 0.5


@pytest.mark.parametrize('form', ['tensor', 'array', 'bitmap', 'polygon', 'rle'])
def test_masks_of_every_form(visualizer, form):
    masks = np.zeros((1, 30, 40), np.uint8)
    masks[0, 5:25, 5:25] = 1
    if form == 'tensor':
        masks = torch.from_numpy(masks).bool()
    elif form == 'rle':
        masks = [coco_masks.encode(np.asfortranarray(mask)) for mask in masks]
    elif form in ('bitmap', 'polygon'):
        structures = pytest.importorskip('mmdet.structures.mask')
        polygons = [[np.array([5.0, 5, 25, 5, 25, 25, 5, 25])]]
        masks = structures.BitmapMasks(masks, 30, 40) if form == 'bitmap' else structures.PolygonMasks(polygons, 30, 40)
    drawn = visualizer.draw(IMAGE, sample(gt_instances=InstanceData(masks=masks, labels=torch.tensor([0]))))
    assert share(panel(drawn)[14:46, 14:46], 0) > 0.4 and share(panel(drawn)[:, 54:], 0) == 0


def test_nothing_to_draw_is_no_error(visualizer):
    empty = sample(gt_instances=InstanceData(labels=torch.zeros(0, dtype=torch.long)))
    for data_sample in (None, empty):
        np.testing.assert_array_equal(visualizer.draw(IMAGE, data_sample), IMAGE)
    nothing = InstanceData(
        masks=torch.zeros(0, 30, 40, dtype=torch.bool), labels=torch.zeros(0, dtype=torch.long), scores=torch.zeros(0)
    )
    assert (panel(visualizer.draw(IMAGE, sample(pred_instances=nothing))) == 100).all()
    nothing = InstanceData(masks=[], labels=torch.zeros(0, dtype=torch.long), scores=torch.zeros(0))
    np.testing.assert_array_equal(visualizer.draw(IMAGE, sample(pred_instances=nothing)), IMAGE)
    void = PixelData(sem_seg=torch.full((1, 30, 40), 3))
    assert (panel(visualizer.draw(IMAGE, sample(pred_panoptic_seg=void))) == 100).all()
    ignored = PixelData(sem_seg=torch.full((1, 30, 40), 255))
    assert (panel(visualizer.draw(IMAGE, sample(gt_sem_seg=ignored))) == 100).all()


def test_switches(visualizer):
    both = sample(**ground_truth(), pred_panoptic_seg=PixelData(sem_seg=torch.full((1, 30, 40), 2)))
    assert visualizer.draw(IMAGE, both, draw_gt=False).shape[1] == 80
    assert visualizer.draw(IMAGE, both, draw_pred=False).shape[1] == 80


def test_metainfo_may_be_missing(visualizer):
    semantic = sample(pred_sem_seg=PixelData(data=torch.full((1, 30, 40), 5)))  # as MMSegmentation names it
    visualizer.dataset_meta = dict(palette='random')
    assert visualizer.draw(IMAGE, semantic).shape[1] == 80
    with pytest.raises(ValueError, match='number of classes'):
        visualizer.draw(IMAGE, sample(pred_panoptic_seg=PixelData(sem_seg=torch.full((1, 30, 40), 2))))


def test_sizes_must_agree(visualizer):
    with pytest.raises(ValueError, match=r'ground truth \(panoptic\) is \(30, 40\) .* image \(20, 20\)'):
        visualizer.draw(IMAGE[:20, :20], sample(**ground_truth()))


def test_files_and_backends(tmp_path):
    visualizer = VISUALIZERS.build(
        dict(
            type='m2f_mm.PanopticVisualizer',
            name=str(tmp_path),
            save_dir=str(tmp_path / 'backend'),
            vis_backends=[dict(type='LocalVisBackend')],
        )
    )
    visualizer.dataset_meta = META
    for suffix in ('png', 'jpg'):
        visualizer.add_datasample('x', IMAGE, sample(**ground_truth()), out_file=str(tmp_path / f'out/x.{suffix}'))
        assert Image.open(tmp_path / f'out/x.{suffix}').size[0] == visualizer.get_image().shape[1]
    visualizer.add_datasample('name', IMAGE, sample(**ground_truth()), step=7)
    assert (tmp_path / 'backend/vis_data/vis_image/name_7.png').exists()


def test_through_mmdetections_hook(tmp_path):
    """MMDetection's own visualization hook hands over its samples and writes our image."""
    hooks = pytest.importorskip('mmdet.engine.hooks')
    from mmdet.structures import DetDataSample

    visualizer = PanopticVisualizer.get_instance(f'hook {tmp_path}')
    visualizer.dataset_meta = META
    Image.fromarray(IMAGE).save(tmp_path / 'x.png')
    data_sample = DetDataSample(metainfo=dict(img_path=str(tmp_path / 'x.png')))
    for name, value in ground_truth().items():
        setattr(data_sample, name, value)
    hook = hooks.DetVisualizationHook(draw=True, test_out_dir='drawn')
    hook._visualizer = visualizer

    class FakeRunner:
        work_dir, timestamp, iter = str(tmp_path), 'now', 0

    hook.after_test_iter(FakeRunner, 0, {}, [data_sample])
    assert (tmp_path / 'now/drawn/x.png').exists()


@pytest.mark.parametrize('own_type', [False, True])
def test_boxes_alone(visualizer, own_type):
    """Frames in the color of the class, around nothing that is painted; those below the threshold are left out."""
    boxes = torch.tensor([[2.0, 3.0, 17.0, 27.0], [22.0, 3.0, 45.0, 27.0], [0.0, 0.0, 10.0, 10.0]])
    gt_boxes = boxes[:2]
    if own_type:
        gt_boxes = pytest.importorskip('mmdet.structures.bbox').HorizontalBoxes(gt_boxes)
    drawn = visualizer.draw(
        IMAGE,
        sample(
            gt_instances=InstanceData(bboxes=gt_boxes, labels=torch.tensor([0, 1])),
            pred_instances=InstanceData(
                bboxes=boxes, labels=torch.tensor([0, 1, 1]), scores=torch.tensor([0.9, 0.8, 0.1])
            ),
        ),
    )
    assert drawn.shape[1] == 80 + 4 + 80
    for column in range(2):
        pixels = panel(drawn, column=column)
        assert share(pixels[30:50, 3:7], 0) > 0.2 and share(pixels[30:50, 43:47], 1) > 0.2  # left sides
        assert share(pixels[52:56, 10:30], 0) > 0.2  # lower sides
        assert (pixels[34:48, 12:28] == 100).all() and (pixels[34:48, 52:76] == 100).all()
    assert share(panel(drawn, column=1)[:4, :20], 1) == 0


def test_tracked_frames(visualizer):
    """Objects of a video keep their colors from frame to frame, beside the annotated ones."""
    mask = np.zeros((30, 40), np.uint8, order='F')
    mask[5:25, 5:15] = 1
    other = np.roll(mask, 20, 1)
    rles = [coco_masks.encode(np.asfortranarray(each)) for each in (mask, other)]
    frames = []
    for visible in ([0, 1], [1]):
        tracks = InstanceData(
            masks=[rles[i] for i in visible],
            labels=torch.tensor([0] * len(visible)),
            scores=torch.tensor([0.9] * len(visible)),
            instances_id=torch.tensor(visible),
        )
        element = sample(pred_track_instances=tracks)
        element.set_metainfo(dict(ori_shape=(30, 40), instances=[dict(mask=rles[0], bbox_label=1, instance_id=7)]))
        frames.append(visualizer.draw(IMAGE, element))
    first, second = (panel(drawn, column=1) for drawn in frames)
    assert frames[0].shape[1] == 80 + 4 + 80
    assert (panel(frames[0])[15:20, 14:18] != 100).any()  # what is annotated
    left, right = first[44:47, 14:26].reshape(-1, 3), first[44:47, 54:66].reshape(-1, 3)  # below the names
    assert (np.median(left, 0) != np.median(right, 0)).any()
    np.testing.assert_array_equal(np.median(second[44:47, 54:66].reshape(-1, 3), 0), np.median(right, 0))
    assert (second[44:47, 14:26] == 100).all()
    legend = frames[0][60 + 24 :].reshape(-1, 3)  # has the colors of the tracks, not those of the classes
    assert (legend == np.median(left, 0)).all(-1).any() and not (legend == META['palette'][0]).all(-1).any()


def test_things_of_a_panoptic_video_keep_their_color(visualizer):
    """Whatever else there is in a frame."""
    frames = torch.full((2, 30, 40), 3)  # void
    frames[0, :10], frames[:, 20:] = 1000, 2000  # two cats, one of which leaves
    one, other = (visualizer.draw(IMAGE, sample(pred_panoptic_seg=PixelData(sem_seg=frame[None]))) for frame in frames)
    np.testing.assert_array_equal(panel(one)[45:58, :20], panel(other)[45:58, :20])
    assert (panel(one)[5, 5] != panel(one)[55, 5]).any()


def test_images_of_one_name_stay_apart(visualizer, tmp_path):
    """MMDetection's hook names files by the basename of their image."""
    for folder in ('a/x', 'b/x', 'b/y'):
        element = sample(**ground_truth())
        element.set_metainfo(dict(img_path=f'{folder}/1.png'))
        for _ in range(2):  # again is no other image
            visualizer.add_datasample('', IMAGE, element, out_file=str(tmp_path / '1.png'))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*.png')) == [
        '1.png',
        'x/1.png',
        'y/1.png',
    ]
    Image.fromarray(IMAGE).save(tmp_path / 'photo.png')
    element.set_metainfo(dict(img_path=str(tmp_path / 'photo.png')))
    with pytest.raises(ValueError, match='would write .*photo.png, which is .*read as data'):
        visualizer.add_datasample('', IMAGE, element, out_file=str(tmp_path / 'photo.png'))
    assert np.array_equal(np.asarray(Image.open(tmp_path / 'photo.png')), IMAGE)
