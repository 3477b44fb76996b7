"""A folder that a reader looks into: its files, the JSONs among them, and the images by name."""

import os
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from ..faults import Fault
from ..image_files import image_fault, loaded_size, read_header
from ..io import read_json

IMAGES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
_SPLITS = dict(train=('train', 'training', 'trn'), val=('val', 'valid', 'validation', 'dev'), test=('test', 'testing'))
_SPLIT = {word: split for split, words in _SPLITS.items() for word in words}
NO_JSON = 'JSON files that cannot be read'


class Folder:
    """The files below a folder, without hidden ones. Links to folders are followed, each folder is read once.

    Args:
        root: the folder.
        images: another folder, in which images lie that are not below the first.

    Raises:
        FileNotFoundError: one of them is no folder.
    """

    def __init__(self, root: str, images: str | None = None):
        for path in filter(None, (root, images)):
            if not os.path.isdir(path):
                raise FileNotFoundError(f'{path} is not a folder')
        self.root = os.path.abspath(root)
        self.faults: list[Fault] = []
        self.files = sorted(_files(self.root))  # relative, with /
        self._places = {self.root: self.files}
        if images:
            self._places[os.path.abspath(images)] = sorted(_files(os.path.abspath(images)))
        self._jsons: dict[str, Any] = {}
        self._headers: dict[str, tuple] = {}

    @property
    def places(self) -> list[str]:
        """The root, and the other folder of images."""
        return [*self._places]

    def path(self, name: str) -> str:
        """Of a file that is named relative to the folder."""
        return os.path.join(self.root, *name.split('/'))

    def with_suffix(self, *suffixes: str) -> list[str]:
        """Files whose names end so."""
        return [name for name in self.files if name.lower().endswith(suffixes)]

    def named(self, *names: str) -> list[str]:
        """Files of these names, without their folders; those nearest to the top first."""
        matches = [name for name in self.files if os.path.basename(name).lower() in names]
        return sorted(matches, key=lambda name: (name.count('/'), name))

    @cached_property
    def images(self) -> list[str]:
        """Files that are images by their names."""
        return self.with_suffix(*IMAGES)

    def jsons(self) -> Iterator[tuple[str, Any]]:
        """Names and contents of the JSONs; one that cannot be read is a fault."""
        for name in self.with_suffix('.json'):
            if name not in self._jsons:
                try:
                    self._jsons[name] = read_json(self.path(name), '', 'a known format', ())
                except ValueError as error:
                    self._jsons[name] = None
                    self.faults.append(
                        Fault(
                            NO_JSON,
                            self.path(name),
                            '',
                            str(error).removeprefix(f'{self.path(name)} '),
                            'Export it anew, or take it away',
                        )
                    )
            if self._jsons[name] is not None:
                yield name, self._jsons[name]

    def find_image(self, name: str, near: Sequence[str] = ('',)) -> str | None:
        """Path of an image that an annotation names, None where there is none, or several that fit alike.

        Args:
            name: of the annotation: a path, or an address, of which the end counts.
            near: folders, relative to the root or to the other folder of images, from which the name may start; the
                first that fits wins.
        """
        parts = [part for part in unquote(name).replace('\\', '/').split('?')[0].split('/') if part not in ('', '.')]
        for folder in near:
            for place in self.places:
                path = os.path.normpath(os.path.join(place, folder, *parts))
                if path.startswith(place + os.sep) and os.path.isfile(path):
                    return path
        matches = self._by_name.get(parts[-1].lower(), []) if parts else []
        if len(matches) > 1:  # the one whose folders are named alike
            ends = [_common_end(path.replace(os.sep, '/').split('/'), parts) for path in matches]
            matches = [path for path, end in zip(matches, ends) if end == max(ends)]
        return matches[0] if len(matches) == 1 else None

    def starts(self, name: str) -> list[str]:
        """Folders, relative to ``places``, in which an image of this name lies; the name may have folders in it."""
        parts = name.replace('\\', '/').split('/')
        starts = []
        for path in self._by_name.get(parts[-1].lower(), ()):
            for place in self.places:
                inside = os.path.relpath(path, place).replace(os.sep, '/').split('/')
                if inside[0] != '..' and inside[-len(parts) :] == parts:
                    starts.append('/'.join(inside[: -len(parts)]))
        return starts

    def image_with_stem(self, stem: str, folders: Sequence[str]) -> str | None:
        """Path of the image of this name without its suffix in one of some folders, relative to the root."""
        for folder in folders:
            for suffix in IMAGES:
                for each in (suffix, suffix.upper()):
                    path = os.path.join(self.root, folder, stem + each)
                    if os.path.isfile(path):
                        return path
        return None

    def size(self, path: str, listed: tuple[int, int] | None = None) -> tuple[int, int] | None:
        """Height and width of an image as viewers show it. None of one that is missing, broken, or of another size than
        ``listed``, which is a fault."""
        if (path, listed) not in self._headers:
            if listed is None:
                try:
                    listed_or_own = loaded_size(path, read_header(path))
                except (FileNotFoundError, ValueError):
                    listed_or_own = (0, 0)
            else:
                listed_or_own = listed
            faults = list(image_fault(path, listed_or_own))
            self.faults.extend(faults)
            fatal = any(fault.fatal for fault in faults)
            self._headers[path, listed] = None if fatal else listed_or_own
        return self._headers[path, listed]

    def fault(
        self, kind: str, name: str, record: str = '', detail: str = '', cure: str = '', fatal: bool = True
    ) -> None:
        """Note what is wrong with a file that is named relative to the root."""
        self.faults.append(Fault(kind, self.path(name), record, detail, cure, fatal))

    def missing_image(self, name: str, record: str, image: str) -> None:
        """Note that an annotation names an image that is not there."""
        self.fault(
            'images that are not there',
            name,
            record,
            f'its image {image!r} is not below {" or ".join(self._places)}, or there are several of that name',
            'Put it there, or take it out of the annotations',
        )

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        paths: dict[str, list[str]] = {}
        for root, files in self._places.items():
            for name in files:
                if name.lower().endswith(IMAGES):
                    paths.setdefault(os.path.basename(name).lower(), []).append(os.path.join(root, *name.split('/')))
        return paths


def _files(root: str) -> Iterator[str]:
    visited = set()
    for folder, inner, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:
            inner[:] = []
            continue
        visited.add(real)
        inner[:] = sorted(name for name in inner if not name.startswith(('.', '__MACOSX')))
        for name in names:
            if not name.startswith('.'):
                yield os.path.relpath(os.path.join(folder, name), root).replace(os.sep, '/')


def _common_end(path: Sequence[str], parts: Sequence[str]) -> int:
    count = 0
    for one, other in zip(reversed(path), reversed(parts)):
        if one.lower() != other.lower():
            break
        count += 1
    return count


def split_of_folders(name: str) -> str:
    """The split that one of the folders of a file is named after, the innermost that is; '' for none."""
    for part in reversed(PurePosixPath(name).parent.parts):
        match = re.fullmatch(r'([a-z]+?)(set)?[-_]?\d*', part.lower())
        if match and match[1] in _SPLIT:
            return _SPLIT[match[1]]
    return ''


def split_of_file(name: str) -> str:
    """The split that a file of annotations is named after, else one of its folders."""
    words = re.split(r'[^a-z]+', PurePosixPath(name).stem.lower())
    splits = {_SPLIT[word] for word in words if word in _SPLIT}
    return splits.pop() if len(splits) == 1 else split_of_folders(name)


def read_xml(path: str) -> ElementTree.Element:
    """Root of an XML.

    Raises:
        ValueError: it is none, or defines entities, which annotations do not need.
    """
    with open(path, 'rb') as file:
        content = file.read()
    if b'<!ENTITY' in content or b'<!DOCTYPE' in content:
        raise ValueError('it has a document type, which annotations do not need')
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ValueError(f'it is no XML ({error})') from error
