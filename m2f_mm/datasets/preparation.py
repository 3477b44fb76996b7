"""Work through the pictures of a data set: in parallel, with a progress bar, resumable, complete or not at all."""

import argparse
import json
import multiprocessing
import os
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from mmengine.utils import ProgressBar
from PIL import Image

from .io import write_file, write_json

JOURNAL = '.partial.jsonl'  # behind the name of the file that is being made


class BrokenPictures(ValueError):
    """What is wrong with which pictures; nothing was written in their place."""


def each_picture(
    work: Callable[[str], dict],
    names: Sequence[str],
    result: Path,
    workers: int,
    output: Callable[[str], Path] | None = None,
) -> list[dict]:
    """``work(name)`` for every picture, in the order of the names.

    What is done is noted in a journal beside ``result``, so that a run that was broken off goes on from there; the
    caller removes it with ``finish``.

    Args:
        work: makes the picture's files and returns what the JSON is to hold; can be pickled. ValueError and OSError
            concern the picture alone.
        names: of the pictures.
        result: the JSON that is being made.
        workers: processes; 0 for this one.
        output: the file that the work writes for a picture; what is missing is made again.

    Raises:
        BrokenPictures: once all others are done.
    """
    journal = Path(f'{result}{JOURNAL}')
    done = {name: record for name, record in _entries(journal) if output is None or output(name).is_file()}
    todo = [name for name in names if name not in done]
    if len(todo) < len(names):
        print(f'{len(names) - len(todo)} of {len(names)} pictures are done already, see {journal}')
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
        raise BrokenPictures(
            f'{len(broken)} of {len(names)} pictures are broken; mend or remove them and start again, '
            'the others will not be made twice:\n' + '\n'.join(broken)
        )
    return [done[name] for name in names]


def finish(result: Path, content: dict) -> None:
    """Write the JSON, whole, and remove its journal."""
    write_json(str(result), content)
    Path(f'{result}{JOURNAL}').unlink(missing_ok=True)


def _results(work: Callable[[str], dict], names: Sequence[str], workers: int) -> Iterator[tuple[str, dict | None, str]]:
    """Name, record and error of each picture."""
    if workers == 0:
        yield from (_done(work, name) for name in names)
        return
    with multiprocessing.get_context('spawn').Pool(workers, _start, (work,)) as pool:
        yield from pool.imap_unordered(_in_process, names, chunksize=4)


def _done(work: Callable[[str], dict], name: str) -> tuple[str, dict | None, str]:
    try:
        return name, work(name), ''
    except (ValueError, OSError) as error:
        return name, None, str(error)


def _start(work: Callable[[str], dict]) -> None:
    """Give a process its work once, which may carry the annotations of a whole data set."""
    global _work
    _work = work


def _in_process(name: str) -> tuple[str, dict | None, str]:
    return _done(_work, name)


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
    """A picture (H, W) or (H, W, 3) of one of Pillow's modes.

    Raises:
        ValueError: it cannot be read, or is of another mode.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in modes:
                raise ValueError(f'{path} is a picture of mode {image.mode}, but must be {" or ".join(modes)}')
            return np.asarray(image)
    except (OSError, SyntaxError) as error:  # what Pillow raises for broken files
        raise ValueError(f'{path} cannot be read: {error}') from error


def bounding_box(mask: np.ndarray) -> list[int]:
    """x, y, width and height of the pixels of a mask (H, W) that is not empty."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]


class SegmentColors:
    """Ids of a picture's segments, whose colours show the class: stuff has the colour of its class, things have that
    colour or one near it.

    Args:
        palette: RGB colour of each class.
        things: whether each class is a thing.
        name: of the picture; same name, same colours.
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


def summary(categories: Sequence[dict], labels: Sequence[int], pictures: int, what: str) -> str:
    """Counts for people: pictures, segments, the classes that occur most and those that do not.

    Args:
        categories: with ``id`` and ``name``.
        labels: category id of each segment.
        pictures: how many there are.
        what: name of the file.
    """
    counts = Counter(labels)
    names = {category['id']: category['name'] for category in categories}
    most = '; '.join(f'{names[label]} {count}' for label, count in counts.most_common(5))
    absent = [name for label, name in names.items() if label not in counts]
    lines = [f'{what}: {pictures} pictures, {len(labels)} segments of {len(counts)} classes ({most or "none"})']
    if absent:
        lines.append(
            f'  without any segment: {"; ".join(absent[:10])}'
            f'{f" and {len(absent) - 10} more" if len(absent) > 10 else ""}'
        )
    return '\n'.join(lines)


def command(about: str, prepare: Callable[[Path, int], list[str]], root: str) -> None:
    """The command line of a preparation.

    Args:
        about: what ``--help`` says.
        prepare: folder and number of processes to lines about what was made.
        root: what the folder is.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path, help=root)
    parser.add_argument('--workers', type=int, default=cores, help='processes; 0 for this one alone')
    args = parser.parse_args()
    try:
        print('\n'.join(prepare(args.root, args.workers)))
    except (ValueError, OSError, ImportError) as error:
        sys.exit(str(error))
