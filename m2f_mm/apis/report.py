"""``m2f report``: what a training has done and what its model does, as one page of HTML that needs no server.

The curves come from MMEngine's logs; the rest from predicting images of the validation data with the best checkpoint.
"""

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.config import Config

from m2f_mm.datasets.io import refuse_inputs, write_file
from m2f_mm.version import __version__

from .models import find_model
from .outputs import inputs
from .report_charts import line_chart, number, reliability_chart
from .report_curves import History, charts, read_history
from .report_data import ValidationData, fitted
from .report_page import document, image, matrix, paragraph, table
from .report_queries import draw_view, query_views
from .report_scores import SCORE_THR, Scores, calibration, confusions, scores_for
from .segmenter import Segmenter, progress_bar

IMAGES = 100  # that are predicted, unless another number is asked for
SHOWN = 4  # worst and best images each
SIDE = 560  # longer side of an image of the page in pixels
LAYERS_WIDTH = 1060  # of the images of a query side by side, each of them 96 to 180 pixels wide
MOST_CLASSES = 30  # of a matrix of confusions
THING_TASKS = ('instance', 'boxes')

Section = tuple[str, str, str]  # name, title, HTML


class Report(NamedTuple):
    """What ``write_report`` has made.

    Args:
        path: of the page.
        images: that were predicted.
        notes: what is missing in the page, and why.
    """

    path: str
    images: int
    notes: list[str]


class Judged(NamedTuple):
    """An image with its quality in 0..1, NaN where there is nothing to judge."""

    index: int
    quality: float


def write_report(
    work_dir: str | Path,
    out: str | Path | None = None,
    images: int = IMAGES,
    predict: bool = True,
    weights: str | None = None,
    device: str = 'auto',
) -> Report:
    """Write the report of a training.

    Args:
        work_dir: folder of the training, with its config, logs and checkpoints.
        out: the page; by default ``report.html`` in the folder.
        images: of the validation data that are predicted at most, spread evenly over it.
        predict: otherwise the page has the curves alone, and no model is built.
        weights: a checkpoint, in the place of the best of the folder or else its last.
        device: see ``models.choose_device``.

    Raises:
        FileNotFoundError: there is no such folder, or files of the validation data are missing.
        ValueError: the folder has neither logs nor checkpoints, or the model and the data do not belong together.
    """
    folder = Path(work_dir)
    history = read_history(folder)
    out = Path(out) if out is not None else folder / 'report.html'
    if out.is_dir():
        raise ValueError(f'--out {out} is a folder: name a file, such as {out / "report.html"}')
    if out.suffix.lower() not in ('.html', '.htm'):
        raise ValueError(f'--out {out}: name a file that ends in .html')
    if images < 1:
        raise ValueError(f'--images {images}: take 1 or more, or --no-predict')
    notes: list[str] = []
    checkpoints = weights is not None or (folder / 'last_checkpoint').is_file() or any(folder.glob('best_*.pth'))
    if predict and not checkpoints:
        predict = False
        notes.append('No image was predicted: the folder has no checkpoint yet.')
        if not history.runs:
            raise ValueError(
                f'{folder} has neither logs (*/vis_data/scalars.json) nor checkpoints: give the work_dir of a training'
            )
    if predict and find_model(str(folder), weights).cfg.model.get('track_head'):
        predict = False
        notes.append('No image was predicted: the model is one for videos.')
    sections: list[Section] = []
    count = 0
    if predict:
        segmenter = Segmenter(str(folder), weights, device)
        cfg: Config | None = segmenter.cfg
        data = ValidationData(segmenter)
        refuse_inputs([str(out)], list(inputs(segmenter.cfg)), '--out', around=False)
        sections, count = prediction_sections(data, images, history)
        weights = segmenter.weights
    else:
        cfg = _config(folder)
    head = _head(folder, cfg, history, weights if predict else None, count, notes)
    page = document(f'Report of {folder.resolve().name}', [curve_section(history), *sections], head)
    write_file(str(out), page.encode())
    return Report(str(out), count, notes)


def _config(folder: Path) -> Config | None:
    """Of the folder, if it can be read; the curves do not need it."""
    try:
        return find_model(str(folder), weights='none').cfg
    except (FileNotFoundError, ValueError):
        return None


def _head(
    folder: Path, cfg: Config | None, history: History, weights: str | None, images: int, notes: Sequence[str]
) -> str:
    """What was trained, in a few lines."""
    rows: list[tuple[str, object]] = [('folder', os.path.abspath(folder))]
    if cfg is not None and cfg.get('model'):
        parts = [str(cfg.model.get('type', '')), str((cfg.model.get('backbone') or {}).get('type', ''))]
        rows.append(('model', ', '.join(part for part in parts if part)))
    rows.append(('runs', ', '.join(history.runs) or 'none has logged'))
    rows.append(('last iteration', history.last_step))
    if weights is not None:
        rows += [('checkpoint', os.path.basename(weights)), ('images predicted', images)]
    rows.append(('made by', f'm2f_mm {__version__}'))
    body = ''.join(f'<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>' for name, value in rows)
    return f'<table>{body}</table>' + ''.join(paragraph(note, 'warn') for note in notes)


def curve_section(history: History) -> Section:
    """Learning curves, and the metrics of the last and the best validation."""
    parts = [line_chart(chart) for chart in charts(history)]
    if not parts:
        parts.append(paragraph('Nothing was logged (vis_data/scalars.json): no curves.', 'note'))
    if history.not_finite:
        names = ', '.join(f'{name} ({count})' for name, count in history.not_finite.items())
        parts.append(paragraph(f'Values that are NaN or infinite are left out: {names}.', 'warn'))
    if history.broken:
        parts.append(paragraph(f'{history.broken} lines of the logs cannot be read and are left out.', 'warn'))
    if history.training and not history.validation:
        parts.append(paragraph('There was no validation yet.', 'note'))
    rows = []
    for name, curve in history.validation.items():
        if name.endswith('_precision'):  # of one class; those of the checkpoint are in the table of classes
            continue
        best = int(np.argmax(curve.values))
        rows.append((name, *map(number, (curve.values[-1], curve.values[best])), int(curve.steps[best])))
    if rows:
        parts.append('<h3>Validations</h3>' + table(('metric', 'last', 'highest', 'at iteration'), rows))
    return 'curves', 'Learning curves', ''.join(parts)


def prediction_sections(data: ValidationData, images: int, history: History) -> tuple[list[Section], int]:
    """All that needs predictions.

    Args:
        data: of the validation.
        images: that are predicted at most.
        history: whose metrics are named beside the ones here.

    Returns:
        The sections, and the number of images.
    """
    indices = np.unique(np.linspace(0, len(data) - 1, min(images, len(data))).round().astype(int))
    scores = scores_for(data.task, data.segmenter.classes)
    judged = []
    with progress_bar(len(indices)) as advance:
        for index in map(int, indices):
            try:
                judged.append(Judged(index, scores.add(data.truth(index), data.predict(index))))
            except ValueError as error:
                raise ValueError(f'{data.name(index)}: {error}') from error
            advance(1)
    ranked = sorted((each for each in judged if not np.isnan(each.quality)), key=lambda each: each.quality)
    sections = [
        class_section(scores, len(indices), len(data)),
        confusion_section(scores),
        calibration_section(scores),
        *image_sections(data, ranked),
        query_section(data, ranked or judged),
    ]
    return sections, len(indices)


def class_section(scores: Scores, predicted: int, total: int) -> Section:
    """The numbers of each class; in the order of the classes."""
    found = scores.table()
    means = ', '.join(f'{name} {value:.2f}' for name, value in found.means.items())
    extent = f'all {total} images' if predicted == total else f'{predicted} of the {total} images'
    body = paragraph(f'{means} on {extent} of the validation data.') + table(found.head, found.rows)
    return 'classes', 'Classes', body + paragraph(found.about, 'note')


def confusion_section(scores: Scores) -> Section:
    """The matrix, of many classes those that are confused most, and the most frequent confusions."""
    counts, names = scores.confusion, list(scores.classes)
    rows, columns = names, names
    if len(counts) > len(names):
        rows, columns = [*names, 'not there'], [*names, 'missed']
    present = np.flatnonzero(counts[: len(names)].sum(1) + counts[:, : len(names)].sum(0))
    parts = []
    if len(present) > MOST_CLASSES:
        errors = counts.sum(1) + counts.sum(0) - 2 * np.diag(counts)
        present = np.sort(present[np.argsort(-errors[present], kind='stable')[:MOST_CLASSES]])
        parts.append(paragraph(f'The {MOST_CLASSES} classes with the most confusions.', 'note'))
    kept = [*present, *range(len(names), len(counts))]
    shown = counts[np.ix_(kept, kept)]
    same = [(place, place) for place in range(len(present))]
    grid = matrix(shown, [rows[each] for each in kept], [columns[each] for each in kept], same)
    what = f'Ground truth in rows, predictions in columns, numbers of {scores.unit}.'
    if len(counts) > len(names):
        what += ' “missed”: nothing was predicted there; “not there”: there is no such segment.'
        if scores.unit == 'objects':
            what += f' Predictions with a score of at least {SCORE_THR}.'
    parts = [paragraph(what, 'note'), *parts, grid]
    frequent = confusions(counts, names)
    if frequent:
        lines = [(gt, pred, f'{count:,}', share) for gt, pred, count, share in frequent]
        parts += ['<h3>Most frequent confusions</h3>', table(('is', 'taken for', scores.unit, '% of the class'), lines)]
    return 'confusion', f'Confusion of {scores.unit}', ''.join(parts)


def calibration_section(scores: Scores) -> Section:
    """A reliability diagram with the expected calibration error."""
    if scores.unit == 'pixels':
        body = paragraph('Label maps have no scores.', 'note')
    elif not scores.scores:
        body = paragraph('There is no prediction with a score.', 'note')
    else:
        found = calibration(scores.scores, scores.right)
        chart = reliability_chart(found.confidence.tolist(), found.accuracy.tolist(), found.counts.tolist())
        about = (
            f'Expected calibration error {100 * found.error:.1f} % over {len(scores.scores)} predictions. A bar is the '
            'share of the predictions of a bin of scores that are right (class, and IoU of at least 1/2), with their '
            'number above; the dot stands at their mean score. On the dashed line scores would be probabilities.'
        )
        body = f'<figure>{chart}</figure>' + paragraph(about, 'note')
    return 'calibration', 'Calibration of scores', body


def image_sections(data: ValidationData, ranked: Sequence[Judged]) -> list[Section]:
    """The worst and the best images: the image, ground truth, prediction."""
    measure = 'mean IoU of its classes' if data.task == 'semantic' else 'PQ of all its segments together'
    worst = ranked[:SHOWN]
    best = ranked[len(worst) :][::-1][:SHOWN]
    note = paragraph(f'By the {measure}, among the images that were predicted: image, ground truth, prediction.')
    sections = []
    for name, title, chosen in (('worst', 'Worst images', worst), ('best', 'Best images', best)):
        if chosen:
            sections.append((name, title, note + ''.join(_compared(data, each) for each in chosen)))
    return sections


def _compared(data: ValidationData, judged: Judged) -> str:
    pixels = data.image(judged.index)
    truth, predicted = data.truth(judged.index, pixels).result, data.predict(judged.index, pixels)
    truth, predicted = fitted(truth, SIDE), fitted(predicted, SIDE)
    threshold = SCORE_THR if data.task in THING_TASKS else 0.0
    name = data.name(judged.index)
    panels = (
        (predicted.image, name),
        (truth.plot(), f'{name}, ground truth'),
        (predicted.plot(score_thr=threshold), f'{name}, prediction, quality {100 * judged.quality:.1f} %'),
    )
    cells = ''.join(f'<div>{image(each, text)}{escape(text)}</div>' for each, text in panels)
    return f'<div class="row">{cells}</div>'


def query_section(data: ValidationData, ranked: Sequence[Judged]) -> Section:
    """Queries layer by layer, of the worst and the best image."""
    name, title = 'queries', 'Queries layer by layer'
    chosen = [ranked[0], ranked[-1]] if len(ranked) > 1 else list(ranked)
    about = paragraph(
        'The queries with the highest scores, after each layer of the transformer decoder. The outline is the mask of '
        'the query; below are its most probable class and score. Where the decoder has masked attention, bright parts '
        'are those that the query may look at in the next layer; * marks a mask without a pixel at the size of that '
        'layer, with which the query looks everywhere. Without it, and after the last layer, bright is the mask.',
        'note',
    )
    parts = []
    for each in chosen:
        try:
            pixels, views = query_views(data.segmenter, data.prepared(each.index))
        except ValueError as error:
            return name, title, paragraph(f'{error}.', 'note')
        layers = len(views[0].layers)
        names = [f'layer {index}' if index else 'start' for index in range(layers - 1)]
        head = ['query', *names, 'output']
        width = min(max(LAYERS_WIDTH // layers, 96), 180)
        rows = []
        for view in views:
            cells = [f'<td>{view.number}</td>']
            for layer, column in zip(view.layers, head[1:]):
                label = f'{data.segmenter.classes[layer.label]} {layer.score:.2f}{"*" if layer.everywhere else ""}'
                text = f'query {view.number}, {column}: {label}'
                shown = image(draw_view(pixels, layer, width), text, width)
                cells.append(f'<td>{shown}{escape(label)}</td>')
            rows.append(f'<tr>{"".join(cells)}</tr>')
        top = f'<tr>{"".join(f"<th>{cell}</th>" for cell in head)}</tr>'
        grid = f'<table class="layers"><thead>{top}</thead><tbody>{"".join(rows)}</tbody></table>'
        parts.append(f'<h3>{escape(data.name(each.index))}</h3><div class="scroll">{grid}</div>')
    return name, title, about + ''.join(parts)
