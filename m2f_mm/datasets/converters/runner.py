"""Convert the images of a data set: in parallel, with a progress bar, resumable, complete or not at all."""

import argparse
import json
import multiprocessing
import os
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from mmengine.utils import ProgressBar
from PIL import Image

from m2f_mm.boxes import box_of_mask

from ..io import write_file, write_json

JOURNAL = '.partial.jsonl'  # behind the name of the result that is being made
Work = Callable[..., dict]


class BrokenImages(ValueError):
    """What is wrong with which images; nothing was written in their place."""


def convert_images(
    work: Work,
    images: Sequence[str] | Mapping[str, tuple],
    result: Path,
    workers: int,
    output: Callable[[str], Path] | None = None,
) -> list[dict]:
    """``work(name)`` for every image, in the order of the names.

    Finished images are noted in a journal beside ``result``, so that an interrupted run continues from there; the
    caller removes it with ``finish`` or ``remove_journal``.

    Args:
        work: writes the image's files and returns what the JSON is to hold; can be pickled. ValueError and OSError
            concern the image alone.
        images: names, or further arguments of ``work`` by name.
        result: the JSON or folder that is being made.
        workers: processes; 0 for this one.
        output: the file that the work writes for an image; what is missing is made again.

    Raises:
        BrokenImages: once all others are done.
    """
    arguments = images if isinstance(images, Mapping) else dict.fromkeys(images, ())
    journal = Path(f'{result}{JOURNAL}')
    done = {name: record for name, record in _entries(journal) if output is None or output(name).is_file()}
    todo = [(name, *arguments[name]) for name in arguments if name not in done]
    if len(todo) < len(arguments):
        print(f'{len(arguments) - len(todo)} of {len(arguments)} images are done already, see {journal}')
    journal.parent.mkdir(parents=True, exist_ok=True)
    broken = []
    bar = ProgressBar(len(todo)) if todo else None
    with journal.open('a', encoding='utf-8') as stream:
        for name, record, error in _results(work, todo, workers):
            if error:
                broken.append(f'{name}: {error}')
            else:
                done[name] = record
                stream.write(json.dumps([name, record]) + '\n')
                stream.flush()
            bar.update()
    if bar:
        print()
    if broken:
        raise BrokenImages(
            f'{len(broken)} of {len(arguments)} images are broken; mend or remove them and start again, '
            'the others will not be made twice:\n' + '\n'.join(broken)
        )
    return [done[name] for name in arguments]


def finish(result: Path, content: dict) -> None:
    """Write the JSON, whole, and remove its journal."""
    write_json(str(result), content)
    remove_journal(result)


def remove_journal(result: Path) -> None:
    """Remove the journal of a result, if there is one."""
    Path(f'{result}{JOURNAL}').unlink(missing_ok=True)


def _results(work: Work, todo: Sequence[tuple], workers: int) -> Iterator[tuple[str, dict | None, str]]:
    """Name, record and error of each image."""
    if workers == 0:
        yield from (_done(work, image) for image in todo)
        return
    with multiprocessing.get_context('spawn').Pool(workers) as pool:
        yield from pool.imap_unordered(partial(_done, work), todo, chunksize=4)


def _done(work: Work, image: tuple) -> tuple[str, dict | None, str]:
    try:
        return image[0], work(*image), ''
    except (ValueError, OSError) as error:
        return image[0], None, str(error)


def _entries(journal: Path) -> Iterator[tuple[str, dict]]:
    """Name and record of what is done; half a line at the end is cut off."""
    if not journal.is_file():
        return
    content = journal.read_bytes()
    whole = content[: content.rfind(b'\n') + 1]
    if len(whole) < len(content):
        write_file(str(journal), whole)
    for line in whole.decode().splitlines():
        name, record = json.loads(line)
        yield name, record


def convert_panoptic(
    work: Work, names: Sequence[str], result: Path, categories: list[dict], workers: int, suffix: str = '.png'
) -> str:
    """Write a COCO panoptic JSON and the PNGs of the folder beside it; see ``convert_images``.

    Args:
        work: gives a dict with ``image`` and ``annotation`` and writes the PNG.
        names: of the images.
        result: the JSON.
        categories: of the JSON.
        workers: processes.
        suffix: of the PNGs, behind the last part of the name.

    Returns:
        A summary of the result.
    """
    out = result.with_suffix('')
    records = convert_images(work, names, result, workers, output=lambda name: out / f'{Path(name).name}{suffix}')
    annotations = [record['annotation'] for record in records]
    finish(result, dict(images=[record['image'] for record in records], annotations=annotations, categories=categories))
    labels = [segment['category_id'] for annotation in annotations for segment in annotation['segments_info']]
    return summary(categories, labels, len(records), str(result))


def convert_instances(work: Work, names: Sequence[str], result: Path, categories: list[dict], workers: int) -> str:
    """Write a COCO instance JSON of the dicts with ``image`` and ``annotations`` that ``work`` gives; see above."""
    records = convert_images(work, names, result, workers)
    annotations = [annotation for record in records for annotation in record['annotations']]
    for number, annotation in enumerate(annotations, start=1):
        annotation['id'] = number
    finish(result, dict(images=[record['image'] for record in records], annotations=annotations, categories=categories))
    return summary(categories, [annotation['category_id'] for annotation in annotations], len(records), str(result))


def convert_label_maps(
    work: Work, images: Sequence[str] | Mapping[str, tuple], out: Path, suffix: str, workers: int
) -> bool:
    """Write the label maps ``out/NAME.SUFFIX`` that are missing; False where none is. See ``convert_images``."""
    missing = [name for name in images if not (out / f'{name}{suffix}').is_file()]
    if missing:
        print(f'{out}:')
        todo = {name: images[name] for name in missing} if isinstance(images, Mapping) else missing
        convert_images(work, todo, out, workers, output=lambda name: out / f'{name}{suffix}')
    remove_journal(out)
    return bool(missing)


def unless_there(result: Path, make: Callable[[Path], str]) -> str:
    """``make(result)``, or that it is there already."""
    if result.is_file():
        return already_there(result)
    print(f'{result}:')
    return make(result)


def already_there(result: Path) -> str:
    """What is said of a result that was made before."""
    return f'{result} is there already'


def names_in(folder: Path, suffix: str) -> list[str]:
    """Names of the files with this ending below a folder, without it, sorted.

    Raises:
        FileNotFoundError: there is none.
    """
    names = sorted(str(path.relative_to(folder))[: -len(suffix)] for path in folder.rglob(f'*{suffix}'))
    if not names:
        raise FileNotFoundError(f'{folder} has no *{suffix}; is the data set unpacked, and the folder the right one?')
    return names


def read_pixels(path: Path, modes: Sequence[str]) -> np.ndarray:
    """An image (H, W) or (H, W, 3) of one of Pillow's modes.

    Raises:
        ValueError: it cannot be read, or is of another mode.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in modes:
                raise ValueError(f'{path} is an image of mode {image.mode}, but must be {" or ".join(modes)}')
            return np.asarray(image)
    except (OSError, SyntaxError) as error:  # what Pillow raises for broken files
        raise ValueError(f'{path} cannot be read: {error}') from error


def coco_box(mask: np.ndarray) -> list[int]:
    """x, y, width and height of the pixels of a mask (H, W) that is not empty."""
    x0, y0, x1, y1 = map(int, box_of_mask(mask))
    return [x0, y0, x1 - x0, y1 - y0]


class SegmentColors:
    """Ids of an image's segments, whose colors show the class: stuff has the color of its class, things have that color
    or one near it.

    Args:
        palette: RGB color of each class.
        things: whether each class is a thing.
        name: of the image; same name, same colors.
    """

    def __init__(self, palette: Sequence[tuple[int, int, int]], things: Sequence[bool], name: str):
        self.palette = palette
        self.things = things
        self.random = np.random.RandomState(zlib.crc32(name.encode()))
        self.taken = {(0, 0, 0), *(color for color, thing in zip(palette, things) if not thing)}

    def id_for(self, label: int) -> int:
        """An id that no other segment has, R + 256 G + 65536 B."""
        color = self.palette[label]
        if self.things[label]:
            while color in self.taken:
                near = np.array(self.palette[label]) + self.random.randint(-30, 31, 3)
                color = tuple(int(part) for part in near.clip(0, 255))
            self.taken.add(color)
        return color[0] + 256 * color[1] + 65536 * color[2]


def summary(categories: Sequence[dict], labels: Sequence[int], images: int, what: str) -> str:
    """Counts for people: images, segments, the classes that occur most and those that do not.

    Args:
        categories: with ``id`` and ``name``.
        labels: category id of each segment.
        images: how many there are.
        what: name of the file.
    """
    counts = Counter(labels)
    names = {category['id']: category['name'] for category in categories}
    most = '; '.join(f'{names[label]} {count}' for label, count in counts.most_common(5))
    absent = [name for label, name in names.items() if label not in counts]
    lines = [f'{what}: {images} images, {len(labels)} segments of {len(counts)} classes ({most or "none"})']
    if absent:
        lines.append(
            f'  without any segment: {"; ".join(absent[:10])}'
            f'{f" and {len(absent) - 10} more" if len(absent) > 10 else ""}'
        )
    return '\n'.join(lines)


def command(about: str, convert: Callable[[Path, int], list[str]], root: str) -> None:
    """The command line of a converter.

    Args:
        about: what ``--help`` says.
        convert: folder and number of processes to lines about the results.
        root: what the folder is.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path, help=root)
    parser.add_argument('--workers', type=int, default=cores, help='processes; 0 for this one alone')
    args = parser.parse_args()
    try:
        print('\n'.join(convert(args.root, args.workers)))
    except (ValueError, OSError, ImportError) as error:
        sys.exit(str(error))
