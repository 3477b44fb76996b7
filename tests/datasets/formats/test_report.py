"""The text and the page that show what a folder holds."""

import numpy as np
import pytest
from PIL import Image

from m2f_mm.datasets.formats import recognise, sample_page, summary
from tests.helpers import own_data

WRITERS = (own_data.coco, own_data.coco_panoptic, own_data.youtube_vis, own_data.voc_boxes, own_data.rgb_masks)


@pytest.mark.parametrize('write', WRITERS, ids=lambda write: write.__name__)
def test_page_and_summary(tmp_path, write):
    write(tmp_path / 'data')
    data = recognise(str(tmp_path / 'data'))
    for count in (3, 16):
        sample_page(data, str(tmp_path / 'page.png'), count)
        page = np.array(Image.open(tmp_path / 'page.png'))
        assert page.ndim == 3 and page.shape[1] == 2 * (384 + 8)  # two columns for 3 and for 4 images
        assert len(np.unique(page[::7, ::7].astype(int) @ (65536, 256, 1))) > 100
    text = summary(data)
    assert data.format in text and data.reason in text and all(name in text for name in data.classes)


def test_page_shows_colors_of_the_table(tmp_path):
    own_data.rgb_masks(tmp_path / 'data')
    data = recognise(str(tmp_path / 'data'))
    sample_page(data, str(tmp_path / 'page.png'), 1)
    pixels = np.array(Image.open(tmp_path / 'page.png'))
    assert (pixels == own_data.COLORS['box']).all(-1).any()  # in the legend


def test_counts(tmp_path):
    own_data.coco(tmp_path)
    (line,) = [line for line in summary(recognise(str(tmp_path))).splitlines() if ' box ' in line]
    assert line.split() == ['0', 'box', '7,', '4']  # two in three images, one in the other


def test_shares(tmp_path):
    own_data.index_masks_with_classes(tmp_path)
    (line,) = [line for line in summary(recognise(str(tmp_path))).splitlines() if ' ring ' in line]
    share = np.mean([(own_data.label_map(index) == 3).mean() for index in range(own_data.NUMBER)])
    assert line.split() == ['3', 'ring', f'{share:.1%},', '4']


def test_faults_are_in_the_summary(tmp_path):
    own_data.coco(tmp_path)
    (tmp_path / 'images/2.jpg').write_bytes(b'x')
    text = summary(recognise(str(tmp_path)))
    assert 'Faults (1)' in text and '2.jpg' in text
