"""What is wrong with a data set that is built, whatever its format: for ``check_dataset`` and before a run."""

from collections.abc import Iterator
from typing import Any

from .checked_coco import CheckedCoco, checked_content, turned_by_exif
from .faults import Fault
from .image_files import image_fault, read_header, size_faults, spread
from .io import read_panoptic_json
from .label_maps import label_map_faults
from .panoptic import PanopticDataset
from .panoptic_records import panoptic_faults
from .video import VideoInstanceDataset
from .wrappers import iter_datasets

LABEL_MAPS, IMAGES = 500, 20_000  # how many files of a large data set are looked at before a run
_PNG_CURE = 'Check data_prefix=dict(seg=...), or write the PNG anew: segment ids as R + 256 G + 65536 B'


def dataset_faults(dataset: Any, everything: bool = True) -> Iterator[Fault]:
    """Faults of annotations, of the headers of images and of label maps.

    Pixels of panoptic PNGs are not compared here: the loader does that.

    Args:
        dataset: of this package, MMDetection or MMSegmentation, or a wrapper of such.
        everything: False looks at ``LABEL_MAPS`` label maps and ``IMAGES`` headers at most, evenly spread.
    """
    maps, images = (None, None) if everything else (LABEL_MAPS, IMAGES)
    for part, _ in iter_datasets(dataset):
        if isinstance(part, PanopticDataset):
            yield from _panoptic(part, images)
        elif isinstance(part, VideoInstanceDataset):
            yield from _video(part, images)
        elif hasattr(part, 'reduce_zero_label') and hasattr(part, 'label_map'):  # MMSegmentation's
            yield from label_map_faults(part, maps)
        elif type(part).__name__ == 'CocoPanopticDataset':  # MMDetection's
            yield from panoptic_faults(
                read_panoptic_json(part.ann_file, part.backend_args), part.ann_file, part.metainfo.get('classes')
            )
            yield from _images(part, images)
        elif hasattr(part, 'cat_ids'):  # MMDetection's of COCO
            if not isinstance(part, CheckedCoco):
                yield from checked_content(part)[1]
            yield from _images(part, images)


def _images(dataset: Any, limit: int | None) -> Iterator[Fault]:
    """Of a data set of MMDetection; its videos list their frames."""
    items = [dataset.get_data_info(index) for index in spread(range(len(dataset)), limit)]
    frames = [frame for item in items for frame in item.get('images', [item])]
    yield from size_faults(
        spread(frames, limit),
        backend_args=getattr(dataset, 'backend_args', None),
        turned=turned_by_exif(dataset.pipeline.transforms),
    )


def _panoptic(dataset: PanopticDataset, limit: int | None) -> Iterator[Fault]:
    annotated = 0
    for index in spread(range(len(dataset)), limit):
        item = dataset.get_data_info(index)
        size = item['height'], item['width']
        annotated += item['seg_map_path'] is not None
        wrong = list(image_fault(item['img_path'], size, dataset.backend_args))
        yield from wrong
        if item['seg_map_path'] is not None and not wrong:  # a wrong size in the JSON is said once
            yield from png_faults(item['seg_map_path'], size, dataset.backend_args)
    if not dataset.test_mode and not annotated:
        yield Fault(
            'no annotation to train on', dataset.ann_file, '', 'it has no annotations of these images', 'Check ann_file'
        )


def png_faults(path: str, size: tuple[int, int], backend_args: dict | None) -> Iterator[Fault]:
    """Of the header of a panoptic PNG."""
    try:
        header = read_header(path, backend_args)
    except FileNotFoundError:
        yield Fault('panoptic PNGs that do not exist', path, '', 'the file does not exist', _PNG_CURE)
        return
    except ValueError as error:
        yield Fault('panoptic PNGs that cannot be read', path, '', str(error).removeprefix(f'{path} '), _PNG_CURE)
        return
    if header.mode not in ('RGB', 'RGBA'):
        yield Fault(
            'panoptic PNGs of another mode',
            path,
            '',
            f'it is an image of mode {header.mode}, but a panoptic PNG keeps its ids in RGB',
            _PNG_CURE,
        )
    elif header.size != size:
        swapped = ': height and width are swapped' if header.size == size[::-1] else ''
        yield Fault(
            'panoptic PNGs of another size',
            path,
            '',
            f'it has {header.size[0]}x{header.size[1]} pixels (HxW), but its JSON says {size[0]}x{size[1]}{swapped}',
            'Write it at the size of the image',
        )


def _video(dataset: VideoInstanceDataset, limit: int | None) -> Iterator[Fault]:
    videos = [dataset.get_data_info(index) for index in spread(range(len(dataset)), limit)]
    frames = [frame for video in videos for frame in video['images']]
    if not dataset.test_mode and not any(frame['instances'] for frame in frames):
        yield Fault(
            'no object to train on',
            dataset.ann_file,
            '',
            'no video that was looked at has an object',
            'Check ann_file and the classes of metainfo',
        )
    yield from size_faults(spread(frames, limit), backend_args=dataset.backend_args)
