"""The command ``m2f``: thin doors to the functions of this package and to its tools.

    m2f predict MODEL SOURCE --out DIR      images from anywhere
    m2f train DATA | CONFIG                 on a folder of your own images and labels, or by a config
    m2f evaluate MODEL                      on the test data of its config
    m2f data check DIR                      what a folder of labels is, and what is wrong with it
    m2f report WORK_DIR                     curves, classes, confusions, images of a training as one page
    m2f models [WORDS]                      shipped models: names, data sets, published numbers
    m2f serve MODEL [MODEL ...]             a web page that predicts
    m2f bench MODEL                         time a model on this machine
    m2f convert | video | doctor            the tools of these names

MODEL is the name of a shipped model, a config, the folder of a training, or a checkpoint that holds its config. What a
user got wrong ends in one sentence and exit status 2; ``--debug`` shows where it came from.
"""

import argparse
import difflib
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from typing import Any

from .configs import PACKAGE_ROOT

TOOLS = PACKAGE_ROOT / '.mim' / 'tools'
USER_ERRORS = (FileNotFoundError, FileExistsError, ValueError, ImportError, OSError, FloatingPointError)
WRONG, INTERRUPTED = 2, 130  # exit status
DEBUG = 'M2F_DEBUG'  # environment variable that ``--debug`` sets: errors of users keep their traceback
# Verb: the tool that does it, and what it is for.
TOOL_VERBS = dict(
    convert=('convert_checkpoint.py', 'convert weights between the names of different sources'),
    video=('video_demo.py', 'find the tracks of a video file, or of a folder of frames'),
    doctor=('doctor.py', 'say what is installed, what is broken and how to mend it'),
)


class _Parser(argparse.ArgumentParser):
    """Names the nearest verb where there is none of that name."""

    def error(self, message: str) -> Any:
        if 'invalid choice' in message and self._subparsers is not None:
            given = message.partition("invalid choice: '")[2].partition("'")[0]
            verbs = list(self._subparsers._group_actions[0].choices)
            near = difflib.get_close_matches(given, verbs, 1)
            hint = f'; did you mean {near[0]}?' if near else f'; there are {", ".join(verbs)}'
            message = f'{given!r} is no command{hint}'
        self.exit(WRONG, f'{self.prog}: error: {message}\n')


def parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    top = _Parser(prog='m2f', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument('--debug', action='store_true', help='show the traceback of an error')
    verbs = top.add_subparsers(dest='verb', metavar='COMMAND', required=True, parser_class=_Parser)

    predict = verbs.add_parser('predict', help='predict images, folders, addresses, videos or a camera')
    _add_model(predict)
    predict.add_argument('source', nargs='+', help='image, folder, pattern, address, video, or camera:0; also several')
    predict.add_argument('--out', default='predictions', help='folder for the results (default predictions)')
    predict.add_argument(
        '--save',
        default='drawn,json',
        help='kinds of files, with commas: drawn, json, coco, yolo, labelme, label_studio, semantic, panoptic '
        '(default drawn,json)',
    )
    predict.add_argument('--task', help='panoptic, instance, semantic or boxes (default: the first that the model can)')
    predict.add_argument('--score-thr', type=float, help='instances and boxes with a lower score are left out')
    predict.add_argument('--batch-size', type=int, default=1, help='images that are predicted together (default 1)')
    predict.add_argument('--tile', type=int, help='side in pixels of the tiles in which larger images are predicted')
    predict.add_argument('--overlap', type=float, default=0.2, help='share of a tile that two have (default 0.2)')
    predict.add_argument('--resume', action='store_true', help='leave out images whose results are in --out already')
    predict.add_argument('--strict', action='store_true', help='end with the first image that cannot be read')
    predict.add_argument(
        '--set', nargs='+', default=[], metavar='KEY=VALUE', help='other options of test_cfg, see docs/options.md'
    )
    predict.set_defaults(run=_predict)

    train = verbs.add_parser(
        'train',
        help='train on a folder of your own data, or by a config',
        epilog='By a config, the arguments are those of tools/train.py: m2f train CONFIG --help',
    )
    train.add_argument('target', help='folder of images with annotations; or a config')
    _add_reading(train)
    train.add_argument('--task', help='panoptic, instance, semantic or boxes (default: what the data are for)')
    train.add_argument('--model', default='auto', help="'auto', 'lite0' (small), or the name of a shipped config")
    train.add_argument('--work-dir', help='folder for checkpoints and logs (default work_dirs/FOLDER_TASK)')
    train.add_argument('--device', default='auto', help="'auto' (a GPU if there is one), 'cpu', 'cuda:0'")
    train.add_argument('--val-share', type=float, default=0.2, help='for validation, where the data have no split')
    train.add_argument('--size', type=int, help='side of the crops in pixels')
    train.add_argument('--batch-size', type=int, help='images of a step')
    train.add_argument('--accumulate', type=int, help='steps whose gradients are added')
    train.add_argument('--lr', type=float, help='learning rate of the head')
    train.add_argument('--max-iters', type=int, help='steps')
    train.add_argument('--val-interval', type=int, help='steps between validations')
    train.add_argument('--workers', type=int, help='processes of the loader')
    train.add_argument('--seed', type=int, help='of split and training (default 0)')
    train.add_argument('--resume', action='store_true', help='go on from the newest checkpoint')
    train.add_argument('--prepare', action='store_true', help='write the config and stop, without training')
    train.set_defaults(run=_train)

    data = verbs.add_parser('data', help='look at a folder of images with annotations')
    actions = data.add_subparsers(dest='action', metavar='ACTION', required=True, parser_class=_Parser)
    check = actions.add_parser('check', help='say what the folder is, what is in it, and what is wrong with it')
    check.add_argument('target', help='folder')
    _add_reading(check)
    check.add_argument('--samples', help='draw samples with their annotations into this image file')
    check.set_defaults(run=_data_check)

    evaluate = verbs.add_parser('evaluate', help='evaluate a model on the test data of its config')
    _add_model(evaluate)
    evaluate.add_argument('--out', help='detectors: a .pkl file for all predictions; segmentors: a folder')
    evaluate.add_argument('--show-dir', help='folder for an image of every prediction')
    evaluate.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='changes of the config')
    evaluate.set_defaults(run=_evaluate)

    report = verbs.add_parser('report', help='curves, classes, confusions and images of a training as one page of HTML')
    report.add_argument('work_dir', help='folder of a training')
    report.add_argument('--out', help='the page (default report.html in the folder)')
    report.add_argument('--images', type=int, default=100, help='validation images to predict at most (default 100)')
    report.add_argument('--no-predict', action='store_true', help='the curves alone, without building the model')
    report.add_argument('--weights', help='checkpoint in the place of the best, or the last, of the folder')
    report.add_argument('--device', default='auto', help="'auto' (a GPU if there is one), 'cpu', 'cuda:0'")
    report.set_defaults(run=_report)

    bench = verbs.add_parser('bench', help='time a model on this machine')
    _add_model(bench)
    bench.add_argument('--size', default='480x640', help='height x width of the image in pixels (default 480x640)')
    bench.add_argument('--runs', type=int, default=10, help='images that are timed (default 10)')
    bench.add_argument('--task', help='panoptic, instance, semantic or boxes')
    bench.set_defaults(run=_bench)

    models = verbs.add_parser('models', help='list the shipped models')
    models.add_argument('words', nargs='*', help='only models whose name, data set or task has all of these')
    models.add_argument('--names', action='store_true', help='names alone, one to a line')
    models.set_defaults(run=_models)

    serve = verbs.add_parser('serve', help='predict on a web page')
    serve.add_argument(
        'model',
        nargs='*',
        help='name of a shipped model, config, folder of a training, or checkpoint; several to choose',
    )
    serve.add_argument('--weights', nargs='+', default=[], help='checkpoint file or address of each model')
    serve.add_argument('--host', default='127.0.0.1', help='address to listen at (default: this machine alone)')
    serve.add_argument('--port', type=int, default=7860, help='port to listen at, 0 for a free one (default 7860)')
    serve.add_argument('--max-mb', type=float, default=50, help='size of the largest upload in MiB (default 50)')
    serve.add_argument('--device', default='auto', help="'auto' (a GPU if there is one), 'cpu', 'cuda:0'")
    serve.set_defaults(run=_serve)

    completion = verbs.add_parser('completion', help='print the completion of a shell, for its start-up file')
    completion.add_argument('shell', choices=['bash', 'zsh', 'tcsh'])
    completion.set_defaults(run=_completion)

    for verb, (_, about) in TOOL_VERBS.items():
        verbs.add_parser(verb, help=about, add_help=False)  # see ``_tool``
    return top


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('model', help='name of a shipped model, config, folder of a training, or checkpoint')
    parser.add_argument('--weights', help='checkpoint file or address of any source')
    parser.add_argument('--device', default='auto', help="'auto' (a GPU if there is one), 'cpu', 'cuda:0'")


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--images', help='folder of the images, where they are not beside the annotations')
    parser.add_argument('--background', type=_value, help='value, or color R,G,B, of masks that is no object')
    parser.add_argument('--ignore', type=_value, nargs='+', help='values or colors of masks that are not trained on')
    parser.add_argument('--classes', nargs='+', help='names of the classes, in the order of the values of masks')


def _value(text: str) -> int | tuple[int, ...]:
    """A value of a mask, or a color such as 128,0,0."""
    numbers = tuple(int(part) for part in text.split(','))
    return numbers if len(numbers) == 3 else numbers[0]


def _reading(args: argparse.Namespace) -> dict[str, Any]:
    names = ('images', 'background', 'ignore', 'classes')
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def run_tool(tool: str, arguments: Sequence[str]) -> int:
    """Run a tool of this package in this process.

    Args:
        tool: name of the file.
        arguments: of its command line.

    Returns:
        The exit status.
    """
    before = sys.argv
    main = runpy.run_path(str(TOOLS / tool))['main']
    sys.argv = [before[0], *arguments]
    try:
        return main() or 0
    finally:
        sys.argv = before


def option_values(texts: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` as Python values; what is none of Python's stays a text.

    Raises:
        ValueError: a text has no ``=``.
    """
    import ast

    options = {}
    for text in texts:
        key, separator, value = text.partition('=')
        if not separator:
            raise ValueError(f'--set {text}: write KEY=VALUE')
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key] = value
    return options


def _predict(args: argparse.Namespace) -> int:
    from .prediction_files import PredictionFiles
    from .segmenter import Segmenter

    options = option_values(args.set)
    if args.score_thr is not None:
        options['score_thr'] = args.score_thr
    sources = args.source[0] if len(args.source) == 1 else args.source
    kinds = [kind for kind in args.save.split(',') if kind]
    segmenter = Segmenter(args.model, args.weights, args.device)
    task = args.task or segmenter.tasks[0]
    drawn_above = options.get('score_thr', 0.3 if task in ('instance', 'boxes') else 0.0)
    run = dict(model=args.model, weights=segmenter.weights, task=task, tile=args.tile, options=options)
    # Before a folder is made: are the source and the options right?
    predict = dict(
        task=args.task,
        batch_size=args.batch_size,
        tile=args.tile,
        overlap=args.overlap,
        on_error='raise' if args.strict else 'collect',
        **options,
    )
    segmenter.predict(sources, **predict)
    files = PredictionFiles(args.out, kinds, run, args.resume, drawn_above, sources)
    skip = files.done if args.resume else None
    predictions, count = segmenter.predict(sources, skip=skip, **predict), 0
    for result in predictions:
        files.write(result)
        count += 1
    written = files.finish(segmenter.classes, segmenter.is_thing)
    print(f'{count} images: {", ".join(written) or "nothing was written"}')
    for bad in predictions.bad:
        print(f'left out: {bad.name}: {bad.error}', file=sys.stderr)
    return 0 if count or not predictions.bad else WRONG


def _train(args: argparse.Namespace) -> int:
    from m2f_mm.datasets.formats import summary

    from .own_config import METRICS
    from .own_data import best_result, prepare_training, train_prepared

    names = ('size', 'batch_size', 'accumulate', 'lr', 'max_iters', 'val_interval', 'workers', 'seed')
    prepared = prepare_training(
        args.target,
        args.work_dir,
        args.task,
        args.model,
        args.device,
        args.val_share,
        _reading(args),
        **{name: getattr(args, name) for name in names},
    )
    print(summary(prepared.data))
    print(f'\nsplit: {prepared.form.reason}\n\n{prepared.plan.describe()}\n\nconfig: {prepared.config}\n')
    if args.prepare:
        return 0
    folder = train_prepared(prepared, resume=args.resume)
    metric = METRICS[prepared.plan.task]
    best = best_result(folder, metric)
    if best is not None:
        print(f'\nbest {metric}: {best[1]:.4g} in {best[0]}')
    print(f'use it:  m2f predict {folder} IMAGES --out predictions')
    return 0


def _data_check(args: argparse.Namespace) -> int:
    from m2f_mm.datasets.formats import recognise, sample_page, summary

    data = recognise(args.target, **_reading(args))
    print(summary(data))
    if args.samples:
        sample_page(data, args.samples)
        print(f'samples: {args.samples}')
    return int(any(fault.fatal for fault in data.faults))


def _evaluate(args: argparse.Namespace) -> int:
    from .segmenter import Segmenter

    segmenter = Segmenter(args.model, args.weights, args.device)
    metrics = segmenter.evaluate(out=args.out, show_dir=args.show_dir, cfg_options=option_values(args.cfg_options))
    for name, value in metrics.items():
        print(f'{name:<40} {value:.4g}' if isinstance(value, float) else f'{name:<40} {value}')
    return 0


def _report(args: argparse.Namespace) -> int:
    from .report import write_report

    done = write_report(args.work_dir, args.out, args.images, not args.no_predict, args.weights, args.device)
    print(f'{done.path} ({os.path.getsize(done.path) / 2**20:.1f} MB, {done.images} images predicted)')
    for note in done.notes:
        print(note, file=sys.stderr)
    return 0


def _bench(args: argparse.Namespace) -> int:
    from .bench import time_model
    from .command_line import height_and_width
    from .segmenter import Segmenter

    try:
        size = height_and_width(args.size)
    except argparse.ArgumentTypeError as error:
        raise ValueError(f'--size: {error}') from None
    segmenter = Segmenter(args.model, args.weights, args.device)
    timing = time_model(segmenter, size, args.runs, args.task)
    height, width = timing.input_size
    print(f'{segmenter} on {segmenter.device}, {height} x {width} in the network, median of {args.runs}:')
    for name in ('prepare', 'network', 'result', 'total'):
        print(f'  {name:<8} {1000 * getattr(timing, name):8.1f} ms')
    if timing.peak_bytes is not None:
        print(f'  memory   {timing.peak_bytes / 2**20:8.0f} MiB at most')
    return 0


def _models(args: argparse.Namespace) -> int:
    from m2f_mm.checkpoints.released import released_models

    words = [word.lower() for word in args.words]
    models = [
        model
        for model in released_models()
        if all(word in f'{model.name} {model.collection} {model.dataset} {model.task}'.lower() for word in words)
    ]
    if not models:
        raise ValueError(f'no shipped model has {" and ".join(args.words)} in its name, data set or task: m2f models')
    if args.names:
        print('\n'.join(model.name for model in models))
        return 0
    rows = [('name', 'data set', 'task', 'published', 'parameters', 'license of the weights')]
    for model in models:
        published = ', '.join(f'{metric} {value}' for metric, value in model.published.items())
        rows.append((model.name, model.dataset, model.task, published, f'{model.parameters:.0f} M', model.license))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print('  '.join(f'{cell:<{width}}' for cell, width in zip(row, widths)).rstrip())
    print("\nThe weights are the authors'; they are fetched when a model is first used.")
    return 0


def _serve(args: argparse.Namespace) -> int:
    from .web import serve

    serve(args.model, args.weights, args.host, args.port, args.max_mb, args.device)
    return 0


def _completion(args: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError:
        raise ImportError('completion needs the package shtab: pip install shtab') from None
    print(shtab.complete(parser(), args.shell))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        tool = _tool(arguments)
        if tool is not None:  # it has a parser of its own
            sys.argv = [f'm2f {arguments[0]}']
            return _ended(lambda rest: run_tool(tool, rest), arguments[1:])
        args = parser().parse_args(arguments)
        if args.debug:
            os.environ[DEBUG] = '1'
        sys.argv = [f'm2f {args.verb}']
        return _ended(args.run, args)
    except KeyboardInterrupt:
        print('m2f: interrupted', file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe, such as head, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except USER_ERRORS as error:
        if os.environ.get(DEBUG):
            raise
        print(f'm2f: error: {error}', file=sys.stderr)
        return WRONG


def _tool(arguments: Sequence[str]) -> str | None:
    """The tool that a command line is for; None for the verbs of this file."""
    if arguments[:1] and arguments[0] in TOOL_VERBS:
        return TOOL_VERBS[arguments[0]][0]
    if arguments[:1] != ['train'] or not arguments[1:]:
        return None
    target = arguments[1]  # a config is a file of Python, or a name that is no folder
    named = not (target.startswith('-') or os.path.exists(target) or os.sep in target)
    return 'train.py' if target.endswith('.py') or named else None


def _ended(run: Callable[[Any], int], args: Any) -> int:
    """The exit status of a verb; a tool that ends with a message has been used wrongly."""
    try:
        return run(args)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return WRONG
        return int(end.code or 0)


if __name__ == '__main__':
    sys.exit(main())
