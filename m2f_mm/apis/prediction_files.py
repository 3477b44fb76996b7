"""Predictions of many images as files, each whole or not at all; a run that was broken off goes on.

    OUT/drawn/NAME             the image with its segments
    OUT/json/STEM.json         ``Result.to_dict``
    OUT/labelme/STEM.json      labelme
    OUT/yolo/STEM.txt          YOLO segmentation
    OUT/label_studio/STEM.json a task of Label Studio
    OUT/semantic/STEM.png      the label of each pixel, 255 (65535 of more than 255 classes) for none
    OUT/panoptic/STEM.png      the id of the segment of each pixel, as COCO panoptic has it; with OUT/panoptic.json
    OUT/coco.json              COCO annotations of all images
    OUT/run.json               what the run was asked for

STEM is the name of the image without its suffix; where two images have one stem, the second keeps its suffix.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from m2f_mm.datasets.io import encode_png, inside, refuse_inputs, write_file, write_json

from .models import nearest_names
from .result_formats import coco_annotations, coco_panoptic, label_studio_task, labelme_record, yolo_lines
from .results import Result

KINDS = ('drawn', 'json', 'coco', 'yolo', 'labelme', 'label_studio', 'semantic', 'panoptic')


class PredictionFiles:
    """Writes results into a folder.

    Args:
        folder: a new or empty one; with ``resume`` also that of an earlier run.
        kinds: of files, see ``KINDS``.
        run: what the run was asked for: model, weights, task, options. An earlier run in the folder must have had the
            same.
        resume: go on with an earlier run: images that it has written are not predicted again.
        score_thr: instances and boxes with a lower score are not drawn; the other files have all.
        source: of the images; where it is a folder, results are not written into it.

    Raises:
        ValueError: a kind does not exist, the folder holds something else or is the source, or the earlier run was
            asked for something else; says what.
    """

    def __init__(
        self,
        folder: str | Path,
        kinds: Sequence[str],
        run: dict[str, Any],
        resume: bool = False,
        score_thr: float = 0.0,
        source: Any = None,
    ):
        for kind in kinds:
            if kind not in KINDS:
                near = nearest_names(kind, list(KINDS), 1)
                hint = f'; did you mean {near[0]}?' if near else ''
                raise ValueError(f'{kind!r} is no kind of files: take some of {", ".join(KINDS)}{hint}')
        self.folder = Path(folder)
        self.kinds = list(dict.fromkeys(kinds))
        self.score_thr = score_thr
        self._stems: dict[str, str] = {}  # of the stems in use, the name of the image
        if isinstance(source, str | os.PathLike) and os.path.isdir(source):
            refuse_inputs([str(self.folder)], [os.fspath(source)], 'the folder of results', around=False)
        run = json.loads(json.dumps(dict(run, kinds=sorted(self.kinds)), default=str))
        self._start(run, resume)
        self._records = dict(coco=self.folder / '.coco', panoptic=self.folder / '.panoptic')

    def _start(self, run: dict, resume: bool) -> None:
        file = self.folder / 'run.json'
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f'{self.folder} is a file: choose a folder for the results')
        if self.folder.is_dir() and any(self.folder.iterdir()):
            if not file.is_file():
                raise ValueError(f'{self.folder} holds other files: choose a new folder for the results')
            if not resume:
                raise ValueError(f'{self.folder} holds results: go on with --resume (resume=True), or choose another')
            before = json.loads(file.read_text())
            changed = [key for key in {*before, *run} if before.get(key) != run.get(key)]
            if changed:
                said = ', '.join(f'{key} {before.get(key)!r}, now {run.get(key)!r}' for key in sorted(changed))
                raise ValueError(f'{self.folder} holds results of another run ({said}): choose another folder')
        write_json(str(file), run)

    def stem(self, name: str) -> str:
        """The name of an image's files, without suffix."""
        stem = str(PurePosixPath(name).with_suffix('')) if PurePosixPath(name).suffix else name
        return stem if self._stems.setdefault(stem, name) == name else name

    def done(self, name: str) -> bool:
        """Whether all files of an image are there."""
        stem = self.stem(name)
        return bool(self.kinds) and all(os.path.isfile(self._path(kind, name, stem)) for kind in self.kinds)

    def _path(self, kind: str, name: str, stem: str) -> str:
        if kind == 'drawn':
            known = PurePosixPath(name).suffix.lower() in ('.jpg', '.jpeg', '.png', '.webp', '.bmp')
            file = name if known else f'{name}.png'
            return inside(str(self.folder / kind), file, 'the image')
        if kind in ('coco', 'panoptic'):  # joined at the end
            return inside(str(self.folder / f'.{kind}'), f'{stem}.json', 'the image')
        suffix = dict(yolo='.txt', semantic='.png').get(kind, '.json')
        return inside(str(self.folder / kind), f'{stem}{suffix}', 'the image')

    def write(self, result: Result) -> None:
        """Write the files of an image.

        Raises:
            OSError: a file cannot be written; names it.
            ValueError: the result has no panoptic or semantic map, but a file of it is asked for.
        """
        stem = self.stem(result.name)
        for kind in self.kinds:
            path = self._path(kind, result.name, stem)
            if kind == 'drawn':
                os.makedirs(os.path.dirname(path), exist_ok=True)
                result.save(path, score_thr=self.score_thr)
            elif kind == 'yolo':
                write_file(path, yolo_lines(result).encode())
            elif kind == 'semantic':
                write_file(path, self._semantic(result))
            elif kind == 'panoptic':
                content, record = coco_panoptic(result)
                record['file_name'] = f'{stem}.png'
                write_file(inside(str(self.folder / kind), f'{stem}.png', 'the image'), content)
                write_json(path, dict(self._image(result), records=[record]))
            elif kind == 'coco':
                write_json(path, dict(self._image(result), records=coco_annotations(result)))
            else:
                make: dict[str, Callable[[Result], dict]] = dict(
                    json=Result.to_dict, labelme=labelme_record, label_studio=label_studio_task
                )
                write_json(path, make[kind](result))

    @staticmethod
    def _semantic(result: Result) -> bytes:
        if result.semantic is None:
            raise ValueError(f'{result.name} has {result.kind} results, of which there is no label map')
        return encode_png(result.semantic.astype(np.uint8 if len(result.classes) <= 255 else np.uint16))

    @staticmethod
    def _image(result: Result) -> dict:
        height, width = result.size
        return dict(file_name=result.name, height=height, width=width)

    def finish(self, classes: Sequence[str], is_thing: Sequence[bool] | None = None) -> list[str]:
        """Write ``coco.json`` and ``panoptic.json`` out of what was predicted for each image, also by earlier runs.

        Args:
            classes: names, by label.
            is_thing: for each class.

        Returns:
            The paths of files and folders with results.
        """
        categories = [
            dict(id=label + 1, name=name) | ({} if is_thing is None else dict(isthing=int(is_thing[label])))
            for label, name in enumerate(classes)
        ]
        for kind in ('coco', 'panoptic'):
            if kind in self.kinds:
                images, annotations = [], []
                for image_id, each in enumerate(self._parts(kind), 1):
                    images.append(dict(id=image_id, **{key: each[key] for key in ('file_name', 'height', 'width')}))
                    for record in each['records']:
                        number = {} if kind == 'panoptic' else dict(id=len(annotations) + 1)
                        annotations.append(dict(number, **dict(record, image_id=image_id)))
                content = dict(images=images, annotations=annotations, categories=categories)
                write_json(str(self.folder / f'{kind}.json'), content)
        written = [self.folder / ('coco.json' if kind == 'coco' else kind) for kind in self.kinds]
        return [str(path) for path in written if path.exists()]

    def _parts(self, kind: str) -> Iterator[dict]:
        for path in sorted(self._records[kind].rglob('*.json')):
            yield json.loads(path.read_text())
