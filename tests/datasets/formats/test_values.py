"""What 0, 255 and colors of label maps mean: decided by the data, asked where they leave it open, told always."""

from functools import partial

import numpy as np
import pytest
from PIL import Image

from m2f_mm.datasets.formats import recognise, summary
from m2f_mm.datasets.formats.class_lists import read_class_list
from tests.helpers import own_data


def masks(root, values=(0, 1, 2, 3), names=None, **options):
    own_data.index_masks(root, values, names=names)
    return recognise(str(root), **options)


def meaning(data):
    """Class of each value, None for what is ignored."""
    return {value: None if label < 0 else data.classes[label] for value, label in data.table.labels.items()}


C = own_data.CLASSES
CASES = {
    'list from 0': ((0, 1, 2, 3), ('background', *C), {}, {0: 'background', 1: 'box', 2: 'ell', 3: 'ring'}, 0),
    'list from 1': ((0, 1, 2, 3), C, {}, {0: 'background', 1: 'box', 2: 'ell', 3: 'ring'}, 1),
    'list from 1, 0 ignored': ((0, 1, 2, 3), C, dict(ignore=(0,)), {0: None, 1: 'box', 2: 'ell', 3: 'ring'}, 0),
    'no list': ((0, 1, 2, 3), None, {}, {v: f'class_{v}' for v in range(4)}, 2),
    'names given': ((0, 1, 2, 3), None, dict(classes=('sky', *C)), dict(enumerate(('sky', *C))), 0),
    'background given': (
        (0, 1, 2, 3),
        None,
        dict(background=0),
        {0: 'background', 1: 'class_1', 2: 'class_2', 3: 'class_3'},
        1,
    ),
    'list from 0 or 1': ((0, 1, 1, 1), C, {}, {0: 'box', 1: 'ell', 2: 'ring'}, 1),
    '255 beside others': ((255, 0, 1, 2), C, {}, {0: 'box', 1: 'ell', 2: 'ring', 255: None}, 0),
    '255 is a class': ((0, 1, 2, 255), None, dict(ignore=()), {v: f'class_{v}' for v in (0, 1, 2, 255)}, 2),
    '0 and 255 alone': ((0, 255, 255, 255), None, {}, {0: 'background', 255: 'foreground'}, 1),
    '0 and 255, one name': ((0, 255, 255, 255), ('cell',), {}, {0: 'background', 255: 'cell'}, 1),
    '0 and 255, two names': ((0, 255, 255, 255), ('tissue', 'cell'), {}, {0: 'tissue', 255: 'cell'}, 1),
    'a name says ignored': ((0, 1, 2, 3), (*C, 'Unlabelled'), {}, {0: 'box', 1: 'ell', 2: 'ring', 3: None}, 0),
    'names by value': (
        (10, 20, 30, 40),
        None,
        dict(classes={10: 'background', 20: 'box', 30: 'ell', 40: 'ring'}),
        {10: 'background', 20: 'box', 30: 'ell', 40: 'ring'},
        0,
    ),
}


@pytest.mark.parametrize('values, names, options, expected, questions', CASES.values(), ids=CASES)
def test_values_and_questions(tmp_path, values, names, options, expected, questions):
    data = masks(tmp_path, values, names, **options)
    assert meaning(data) == expected
    assert len(data.questions) == questions and not data.faults
    assert all(str(each) in summary(data) for each in data.questions)
    labels = data.label_map(data.records[0])
    for value, name in expected.items():
        place = own_data.label_map(0, values) == value
        assert (labels[place] == (data.ignore_index if name is None else data.classes.index(name))).all()


def test_questions_tell_shares_and_notes_what_decided(tmp_path):
    data = masks(tmp_path, (255, 0, 1, 2), C)
    share = np.mean([(own_data.label_map(index) == 0).mean() for index in range(own_data.NUMBER)])
    assert f'255 has {share:.1%} of the pixels' in ' '.join(data.notes)
    data = masks(tmp_path, (0, 1, 2, 3), C)
    assert f'0 has {share:.1%} of the pixels' in data.questions[0].text and data.questions[0].options == ('ignore',)


def test_255_alone_in_some_files_is_asked(tmp_path):
    own_data.index_masks(tmp_path, (0, 255, 255, 255))
    own_data.save(tmp_path / 'masks/3.png', own_data.label_map(3, (0, 1, 2, 255)).astype(np.uint8))
    data = recognise(str(tmp_path))
    assert 'beside 0 alone in 3 of 4 masks' in data.questions[-1].text


def test_background_of_another_value_has_no_objects(tmp_path):
    data = masks(tmp_path, (3, 0, 1, 2), ('box', 'ell', 'ring', 'rest'), background=3)
    assert data.classes[data.background] == 'rest'


def test_values_that_no_class_has_are_faults(tmp_path):
    own_data.index_masks(tmp_path, names=('background', *C))
    own_data.save(tmp_path / 'masks/2.png', own_data.label_map(2, (0, 1, 2, 9)).astype(np.uint8))
    data = recognise(str(tmp_path), classes={0: 'background', 1: 'box', 2: 'ell', 3: 'ring'})
    (fault,) = data.faults
    assert fault.file.endswith('masks/2.png') and 'the value 9' in fault.detail and len(data.records) == 3


def test_colors_without_a_table_are_listed_with_their_shares(tmp_path):
    own_data.rgb_masks(tmp_path)
    (tmp_path / 'colors.csv').unlink()
    with pytest.raises(ValueError, match=r'colors\.csv with lines name,red,green,blue') as error:
        recognise(str(tmp_path))
    share = np.mean([(own_data.label_map(index) == 3).mean() for index in range(own_data.NUMBER)])
    assert f'(0, 0, 200)  {share:.1%}' in str(error.value)
    data = recognise(str(tmp_path), colors=own_data.COLORS)
    assert data.format == 'RGB masks' and data.classes == ['background', *C]
    assert data.palette[1:] == list(own_data.COLORS.values())[1:]


def test_colors_that_the_table_lacks(tmp_path):
    own_data.rgb_masks(tmp_path)
    (tmp_path / 'colors.csv').write_text('name,r,g,b\nbox,200,0,0\nell,0,200,0')
    with pytest.raises(ValueError, match=r'the color \(0, 0, 200\)'):
        recognise(str(tmp_path))
    data = recognise(str(tmp_path), colors={name: own_data.COLORS[name] for name in C})
    assert data.classes == ['background', *C] and 'Black' in data.questions[0].text


def test_photos_are_no_colored_masks(tmp_path):
    own_data.images(tmp_path, 'images')
    own_data.images(tmp_path, 'masks', '{}.png')
    with pytest.raises(ValueError, match='too many for classes'):
        recognise(str(tmp_path))


def test_gray_values_in_three_channels(tmp_path):
    gray = partial(own_data.index_masks, names=('background', *C))
    gray(tmp_path, save_map=lambda path, labels: own_data.save(path, np.stack([labels] * 3, -1).astype(np.uint8)))
    data = recognise(str(tmp_path))
    assert meaning(data)[3] == 'ring' and 'without color' in ' '.join(data.notes)
    assert np.array_equal(data.label_map(data.records[0]), own_data.label_map(0))


def test_sixteen_bits(tmp_path):
    names = [f'c{k}' for k in range(300)]
    own_data.index_masks(
        tmp_path, (0, 1, 2, 299), lambda path, labels: own_data.save(path, labels.astype(np.uint16)), names=names
    )
    data = recognise(str(tmp_path))
    labels = data.label_map(data.records[0])
    assert labels.max() == 299 and data.ignore_index == 65535 and labels.dtype == np.uint16


@pytest.mark.parametrize(
    'text, names, values, colors',
    [
        ('cat\ndog\n', ['cat', 'dog'], None, None),
        ('0 background\n1 big cat\n', ['background', 'big cat'], [0, 1], None),
        ('Pixel Value, Class\n0, background\n1, cat', ['background', 'cat'], [0, 1], None),
        ('64 128 64\tAnimal\n192 0 128\t\tArchway', ['Animal', 'Archway'], None, [0x408040, 0xC00080]),
        ('name,r,g,b\nRoad,128,64,128\nSky,0,0,1', ['Road', 'Sky'], None, [0x804080, 1]),
        ('# label:color\nbackground:0,0,0::\ncat:10,20,30:head,tail:sits', ['background', 'cat'], None, [0, 0x0A141E]),
        ('Idx\tRatio\tTrain\tVal\tName\n1\t0.1\t1\t1\twall\n2\t0.1\t1\t1\tbuilding, edifice', None, [1, 2], None),
        ('one two 1 2', None, None, None),
        ('cat\ncat\n', None, None, None),
        ('1 cat\n2 3 4 dog', None, None, None),
    ],
)
def test_lists_of_classes(tmp_path, text, names, values, colors):
    (tmp_path / 'classes.txt').write_text(text)
    listed = read_class_list(str(tmp_path / 'classes.txt'))
    if names is None and values is None and colors is None:
        assert listed is None or listed.names == [text]
    else:
        assert listed.names == (names or ['wall', 'building, edifice'])
        assert (listed.values, listed.colors) == (values, colors)


def test_masks_for_the_eye_are_passed_over(tmp_path):
    """Beside numbers often lie the same masks in colors."""
    own_data.index_masks(tmp_path, names=('background', *C))
    for index in range(own_data.NUMBER):
        own_data.save(tmp_path / f'label_color/{index}.png', own_data.colored(own_data.label_map(index)))
    data = recognise(str(tmp_path))
    assert data.format == 'index masks' and 'images and masks' in data.reason
    assert 'Named alike, and not read: images and label_color.' in data.notes
    assert np.array_equal(data.label_map(data.records[0]), own_data.label_map(0))


@pytest.mark.parametrize('known', [True, False])
def test_palettes_and_a_table_of_colors(tmp_path, known):
    """The colors of a palette count where the table has them, whatever its order; else the indices do."""
    numbers = (3, 2, 1, 0)  # of background, box, ell and ring

    def save(path, labels):
        own_data.save_palette(path, labels)
        image = Image.open(path)
        if known:
            image.putpalette(np.array(list(own_data.COLORS.values()))[[3, 2, 1, 0]].ravel().tolist())
        image.save(path)

    own_data.index_masks(tmp_path, numbers, save)
    colors = list(own_data.COLORS.items())
    lines = [f'{name},{r},{g},{b}' for name, (r, g, b) in (colors if known else reversed(colors))]
    own_data.write_text(tmp_path / 'colors.csv', '\n'.join(lines))
    data = recognise(str(tmp_path))
    assert data.format == ('RGB masks' if known else 'index masks') and not data.faults
    names = np.array(data.classes)[data.label_map(data.records[0])]
    assert (names == np.array(['background', *C])[own_data.label_map(0)]).all()
