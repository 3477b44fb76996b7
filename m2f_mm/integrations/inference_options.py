"""Tables of what ``test_cfg`` may have: of image detectors, video detectors and segmentors.

The fusion head, the video head and the segmentor read it; every part that is given one checks it when it is built.
"""

from collections.abc import Mapping
from typing import Any

from mmengine.config import ConfigDict

from .option_tables import Old, Table, choice, count, no_effect, number, pair, share, switch, translate

PANOPTIC_OPTIONS: Table = {
    'object_mask_thr': share(0.8, 'panoptic maps: queries with a lower class score are left out'),
    'iou_thr': share(
        0.8, 'panoptic maps: share of a mask that must be left once higher scores have taken their pixels'
    ),
}
SCORE = share(0.0, 'instances with a lower score are left out')
TEMPERATURE = 0.06  # Mask DINO's

DETECTOR_OPTIONS: Table = {
    'panoptic_on': switch(True, 'panoptic maps (`pred_panoptic_seg`)'),
    'instance_on': switch(False, 'instances (`pred_instances`)'),
    'semantic_on': switch(False, 'label maps (`pred_sem_seg`)'),
    **PANOPTIC_OPTIONS,
    'filter_low_score': switch(False, 'panoptic maps: only pixels whose mask probability is at least 0.5'),
    'max_per_image': count(100, 'instances'),
    'score_thr': SCORE,
    'instance_masks': choice(
        'bitmap',
        'rle',
        None,
        meaning="'rle': masks as COCO's RLE, an eighth of the memory; None: predicted boxes alone, which is all that a "
        'model without masks has',
    ),
    'mask_quality_in_score': switch(
        True, "scores of instances are multiplied by the mean probability of the mask's pixels"
    ),
    'rate_masks': Old('mask_quality_in_score'),
    'temperature': number(
        TEMPERATURE,
        'of classes with sigmoids, at which they compete in panoptic and label maps; None for no competition',
        least=0,
        included=False,
        none=True,
    ),
}
VIDEO_OPTIONS: Table = {
    'panoptic_on': switch(
        False, 'also panoptic maps of every frame; a thing has one number through the video, stuff is merged'
    ),
    **PANOPTIC_OPTIONS,
    'filter_low_score': switch(True, 'panoptic maps: only pixels whose mask probability is at least 0.5'),
    'max_per_video': count(10, 'tracks'),
    'score_thr': SCORE,
    'instance_masks': choice('bitmap', 'rle', meaning="'rle': masks as COCO's RLE; always so in windows"),
    'association': choice(
        'clip', 'frames', meaning="'frames': every frame is predicted on its own and joined by its queries, as MinVIS"
    ),
    'window_size': count(None, 'frames of a window, for videos that are longer; None for the whole video', none=True),
    'window_overlap': count(
        0, "frames that neighbouring windows share; 0 with `association='frames'`", least=0
    )._replace(no_effect_with=('association', 'frames')),
    'frames_at_once': count(None, 'frames that go through the backbone together; None for all', none=True),
}
SEGMENTOR_OPTIONS: Table = {
    'mode': choice('whole', 'slide', meaning="'slide': crops of the image, which may overlap"),
    'crop_size': pair("of mode='slide': height and width"),
    'stride': pair("of mode='slide': vertical and horizontal step"),
    'rescale': choice(True, meaning="results at the file's size, as MMSegmentation always gives them"),
}


def read_test_cfg(cfg: Mapping[str, Any] | None, options: Table) -> ConfigDict:
    """All options of a ``test_cfg``, those that it does not name with their defaults.

    Args:
        cfg: as the config has it.
        options: those that there are.

    Raises:
        ValueError: an option does not exist or cannot have its value; says which one is meant or possible.
    """
    return ConfigDict(translate('test_cfg', cfg, options))


def check_temperature(where: str, temperature: float | None, no_object: bool) -> None:
    """Refuse a temperature that would be ignored.

    Args:
        where: the owner of the option, for the error message.
        temperature: of classes with sigmoids.
        no_object: the classes share a softmax with no-object, which has no temperature.

    Raises:
        ValueError: it is not the default and has no effect.
    """
    if no_object and temperature != TEMPERATURE:
        raise no_effect(where, 'temperature', temperature, 'classes of a softmax (CrossEntropyLoss)', TEMPERATURE)


def joined_cfg(name: str, given: Mapping[str, Mapping[str, Any] | None]) -> ConfigDict | None:
    """Options that stand in several places of a config, such as the model's and its head's ``test_cfg``.

    Args:
        name: of the config, for the error message.
        given: what each place has, by the name of the place.

    Raises:
        ValueError: two places have different values for an option.
    """
    joined, places = ConfigDict(), dict[str, str]()
    for place, cfg in given.items():
        for key, value in (cfg or {}).items():
            if key in joined and joined[key] != value:
                raise ValueError(
                    f'{places[key]}.{name} has {key}={joined[key]!r}, but {place}.{name} has '
                    f'{key}={value!r}: leave one of them out'
                )
            joined[key], places[key] = value, place
    return None if all(cfg is None for cfg in given.values()) else joined
