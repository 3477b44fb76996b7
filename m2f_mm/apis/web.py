"""A web page that predicts images, folders, videos and what a camera sees (``m2f serve``, extra ``[web]``).

What a page may do: choose among the models that were named when it was started, and upload files of a bounded size.
It reads no file of the server but the uploaded ones, and those of the models; nothing of an upload is run.
"""

import contextlib
import functools
import html
import json
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .hover import STYLE, hover_html
from .web_models import DOWNLOADS, MAX_FRAMES, MAX_IMAGES, NO_MODELS, ServedModels, without_classes, written

if TYPE_CHECKING:
    import gradio

LOOPBACK = '127.0.0.1'
EVERY_ADDRESS = ('0.0.0.0', '::', '')
KEPT_SECONDS = 3600  # that files of the page stay on the disk
FILES_AT_ONCE = 20  # of the largest size, in one upload
MAX_MESSAGE = 2**20  # bytes of a request that is no upload
SHOWN_DRAWN = 40  # images of a folder on the page
HEADERS = ['class', 'score', 'thing', 'pixels', '% of the image']
USER_ERRORS = (ValueError, OSError, ImportError, FloatingPointError)
# A click on the hidden button once its file is there.
CLICK = "() => setTimeout(() => document.querySelector('#m2f-download')?.click(), 200)"


def gradio_module() -> Any:
    """The package gradio, which sends no statistics.

    Raises:
        ImportError: it is not installed.
    """
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
    try:
        import gradio
    except ImportError:
        raise ImportError(
            "the web page needs the package gradio: pip install 'gradio>=6.16,<7' (the extra [web])"
        ) from None
    return gradio


def serve(
    models: Sequence[str],
    weights: Sequence[str] = (),
    host: str = LOOPBACK,
    port: int = 7860,
    max_mb: float = 50,
    device: str = 'auto',
) -> None:
    """Offer models on a web page until Ctrl-C.

    Args:
        models: names or paths, see ``models.find_model``; the page can load no others.
        weights: of each model, files or addresses; none for those that belong to the models.
        host: address to listen at; the default is this machine alone.
        port: to listen at; 0 for a free one.
        max_mb: size of the largest file that may be uploaded, in MiB.
        device: where to compute.

    Raises:
        ImportError: gradio is not installed.
        OSError: the port is in use.
        ValueError: there is no model, or an argument is out of its range.
    """
    if not models:
        raise ValueError(NO_MODELS)
    if not 0 < max_mb < float('inf'):
        raise ValueError(f'--max-mb {max_mb:g}: give a size above 0')
    port = free_port(host, port)
    gradio_module()  # before models are loaded
    served = ServedModels(models, weights, device)
    with running(served, host, port, max_mb) as address:
        who = ', for everybody who reaches this machine' if host in EVERY_ADDRESS else ''
        print(f'm2f serves {", ".join(served.names)} at {address}{who}; Ctrl-C ends it', flush=True)
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            while True:
                time.sleep(3600)
        finally:
            signal.signal(signal.SIGTERM, before)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def running(served: ServedModels, host: str = LOOPBACK, port: int = 0, max_mb: float = 50) -> Iterator[str]:
    """The page, served in the background; the value is its address.

    Args:
        served: the models that it offers.
        host: address to listen at.
        port: to listen at; 0 for a free one.
        max_mb: size of the largest file that may be uploaded, in MiB.

    Raises:
        ImportError: gradio is not installed.
        OSError: the port is in use.
    """
    gr = gradio_module()
    port = free_port(host, port)
    root = Path(tempfile.mkdtemp(prefix='m2f_serve_'))
    with _environment(GRADIO_TEMP_DIR=str(root / 'uploads'), GRADIO_ALLOWED_PATHS='', GRADIO_ROOT_PATH=''):
        page = make_page(served, root / 'results')
        limit = round(max_mb * 2**20)
        try:
            page.queue(default_concurrency_limit=2, max_size=32)
            page.launch(
                server_name=host or EVERY_ADDRESS[0],
                server_port=port,
                max_file_size=limit,
                app_kwargs=dict(middleware=[_guard(limit)]),
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                ssr_mode=False,
                mcp_server=False,
                enable_monitoring=False,
                run_history=False,
                footer_links=[],
                theme=gr.themes.Default(),
            )
            yield f'http://{_shown(host)}:{port}'
        finally:
            page.close(verbose=False)
            shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Variables that gradio reads, while the page is served."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _shown(host: str) -> str:
    return LOOPBACK if host in EVERY_ADDRESS else f'[{host}]' if ':' in host else host


def free_port(host: str, port: int) -> int:
    """The port, or a free one for 0.

    Raises:
        OSError: it is in use, or the address is none of this machine.
        ValueError: it is no number of a port.
    """
    if not 0 <= port < 2**16:
        raise ValueError(f'--port {port}: give a number in 0..65535')
    try:
        family = socket.getaddrinfo(host or EVERY_ADDRESS[0], port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return probe.getsockname()[1]
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.strerror == 'Cannot assign requested address':
            raise OSError(f'--host {host} is no address of this machine ({error.strerror})') from None
        raise OSError(
            f'port {port} of {_shown(host)} cannot be used ({error.strerror}): another program has it, or an earlier '
            f'm2f serve; end that, or take another one, such as --port {port + 1}'
        ) from None


def _guard(limit: int) -> Any:
    from starlette.middleware import Middleware

    return Middleware(Guard, max_upload=FILES_AT_ONCE * limit)


class Guard:
    """Between the network and gradio: bounds the size of requests, and refuses those that make the server fetch an
    address, for itself or as a proxy.

    Args:
        app: of gradio.
        max_upload: bytes of a request with files.
    """

    def __init__(self, app: Any, max_upload: int):
        self.app = app
        self.max_upload = max_upload

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Answers a request."""
        if scope['type'] != 'http':
            await self.app(scope, receive, send)
            return
        path = scope['path']
        if any(part in path for part in ('/file=http:', '/file=https:', '/file/http', '/proxy=')):
            await _answer(send, 403, 'this server fetches no addresses')
            return
        if path.rstrip('/').endswith('/upload'):
            await self._bounded(scope, receive, send, self.max_upload)
            return
        if scope['method'] != 'POST':
            await self.app(scope, receive, send)
            return
        body, more = b'', True
        while more:  # all of it, as it is looked into
            message = await receive()
            if message['type'] == 'http.disconnect':
                return
            body += message.get('body', b'')
            more = message.get('more_body', False)
            if len(body) > MAX_MESSAGE:
                await _answer(send, 413, f'a request has more than {MAX_MESSAGE} bytes')
                return
        if names_address(body):
            await _answer(send, 403, 'this server fetches no addresses')
            return
        messages = [dict(type='http.request', body=body, more_body=False)]

        async def replay() -> dict:
            return messages.pop() if messages else await receive()

        await self.app(scope, replay, send)

    async def _bounded(self, scope: dict, receive: Callable, send: Callable, limit: int) -> None:
        announced = dict(scope['headers']).get(b'content-length', b'0')
        if not announced.isdigit() or int(announced) > limit:
            await _answer(send, 413, f'an upload has more than {limit} bytes')
            return
        received = 0

        async def counted() -> dict:
            nonlocal received
            message = await receive()
            received += len(message.get('body', b''))
            return dict(type='http.disconnect') if received > limit else message

        await self.app(scope, counted, send)


def names_address(body: bytes) -> bool:
    """Whether a JSON has a file whose path is an address."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return False
    waiting = [content]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            path = each.get('path')
            if isinstance(path, str) and '://' in path:
                return True
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
    return False


async def _answer(send: Callable, status: int, text: str) -> None:
    headers = [(b'content-type', b'text/plain; charset=utf-8'), (b'connection', b'close')]
    await send(dict(type='http.response.start', status=status, headers=headers))
    await send(dict(type='http.response.body', body=text.encode()))


class Answers:
    """What the page's events answer. Arguments are what the components hold.

    Args:
        models: that the page offers.
        folder: for files that are downloaded, each in a folder of its own.
    """

    def __init__(self, models: ServedModels, folder: Path):
        self.models = models
        self.folder = folder
        self.gr = gradio_module()

    def chosen_model(self, name: str) -> list:
        """Tasks, thresholds and switched-off classes of another model."""
        tasks = list(self.models[name].segmenter.tasks)
        return [self.gr.Radio(choices=tasks, value=tasks[0]), *self.sliders(name, tasks[0]), []]

    def sliders(self, name: str, task: str) -> list:
        """The three sliders for a task, those that it lacks hidden."""
        values = self.models[name].thresholds(task)
        return [
            self.gr.Slider(value=values.get(key, 0.0), visible=key in values)
            for key in ('score_thr', 'object_mask_thr', 'iou_thr')
        ]

    def show(
        self,
        image: str | None,
        annotation: str | None,
        name: str,
        task: str,
        score: float,
        mask: float,
        overlap: float,
        off: list[int],
    ) -> list:
        """Prediction and truth as HTML, table, classes, and what was not done."""
        gr = self.gr
        if image is None:
            nothing = gr.CheckboxGroup(choices=[], value=[], visible=False)
            return ['', gr.HTML('', visible=False), [], nothing, [], '']
        result = self._result(image, name, task, score, mask, overlap)
        labels = sorted({segment.label for segment in result})
        counts = {label: sum(segment.label == label for segment in result) for label in labels}
        choices = [(f'{result.classes[label]} ({counts[label]})', label) for label in labels]
        shown = without_classes(result, off)
        note, truth = '', None
        try:
            truth = self.models[name].truth(result, annotation)
        except USER_ERRORS as error:
            note = html.escape(cleaned(str(error)))
        text = '<p><b>ground truth</b></p>'
        return [
            '<p><b>prediction</b></p>' + hover_html(shown),
            gr.HTML('' if truth is None else text + hover_html(truth), visible=truth is not None),
            rows(shown),
            gr.CheckboxGroup(
                choices=choices, value=[label for label in labels if label not in off], visible=bool(choices)
            ),
            labels,
            note,
        ]

    def switched(self, on: list[int], listed: list[int], off: list[int]) -> list[int]:
        """Labels that are switched off, once some of the listed ones are on."""
        return sorted(
            {*(label for label in off if label not in listed), *(label for label in listed if label not in on)}
        )

    def download(
        self,
        kind: str,
        image: str | None,
        name: str,
        task: str,
        score: float,
        mask: float,
        overlap: float,
        off: list[int],
    ) -> str:
        """The path of a file with the segments that are shown."""
        if image is None:
            raise ValueError('choose an image first')
        result = without_classes(self._result(image, name, task, score, mask, overlap), off)
        return written(result, kind, self._new_folder())

    def _result(self, image: str, name: str, task: str, score: float, mask: float, overlap: float) -> Any:
        return self.models[name].result(image, task, self._thresholds(score, mask, overlap))

    @staticmethod
    def _thresholds(score: float, mask: float, overlap: float) -> dict[str, float]:
        return dict(score_thr=score, object_mask_thr=mask, iou_thr=overlap)

    def files(
        self,
        several: list[str] | None,
        folder: list[str] | None,
        name: str,
        task: str,
        score: float,
        mask: float,
        overlap: float,
        progress: Any,
    ) -> list:
        """The archive, the first drawn images, and what was done."""
        paths = [*(several or ()), *(folder or ())]
        if not paths:
            raise ValueError('choose images or a folder first')
        archive, drawn, bad = self.models[name].files(
            paths, task, self._thresholds(score, mask, overlap), self._new_folder(), progress
        )
        said = f'{len(drawn)} images are predicted; the archive has them drawn, and coco.json with all segments.'
        if bad:
            listed = ', '.join(f'{each.name} ({each.error})' for each in bad[:10])
            said += f' {len(bad)} files are left out: {listed}{", ..." if len(bad) > 10 else ""}.'
        return [archive, drawn[:SHOWN_DRAWN], html.escape(cleaned(said))]

    def video(
        self,
        video: str | None,
        joined: str,
        name: str,
        task: str,
        score: float,
        mask: float,
        overlap: float,
        progress: Any,
    ) -> list:
        """The drawn video, files to download, and what was done."""
        if video is None:
            raise ValueError('choose a video first')
        drawn, tracks, said = self.models[name].video(
            video, joined == 'tracks', task, self._thresholds(score, mask, overlap), self._new_folder(), progress
        )
        return [drawn, [path for path in (drawn, tracks) if path], html.escape(said)]

    def _new_folder(self) -> Path:
        """For files that gradio copies from there; old ones go."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.iterdir():
            if old.stat().st_mtime < time.time() - KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        return Path(tempfile.mkdtemp(dir=self.folder))


def rows(result: Any) -> list[list]:
    """The table of a result's segments."""
    pixels = result.size[0] * result.size[1]
    return [
        [
            segment.name,
            '' if segment.score is None else f'{segment.score:.3f}',
            '' if segment.is_thing is None else 'yes' if segment.is_thing else 'no',
            segment.area,
            f'{100 * segment.area / pixels:.2f}',
        ]
        for segment in result
    ]


def cleaned(text: str) -> str:
    """A message without the folders of the server."""
    for folder in (os.environ.get('GRADIO_TEMP_DIR'), tempfile.gettempdir(), os.getcwd()):
        if folder and len(folder) > 1:
            text = text.replace(folder + os.sep, '')
    return text


def make_page(models: ServedModels, folder: Path) -> 'gradio.Blocks':
    """The page.

    Args:
        models: that it offers.
        folder: for files that are downloaded.
    """
    gr = gradio_module()
    answers = Answers(models, folder)

    def told(function: Callable) -> Callable:
        """What a user got wrong is shown as text."""

        @functools.wraps(function)
        def call(*args: Any) -> Any:
            try:
                return function(*args)
            except USER_ERRORS as error:
                raise gr.Error(html.escape(cleaned(str(error))), duration=15) from error

        return call

    first = models[models.names[0]]
    tasks = list(first.segmenter.tasks)
    values = first.thresholds(tasks[0])

    camera = gr.WebcamOptions(mirror=False)

    def slider(key: str, label: str) -> Any:
        return gr.Slider(
            0, 1, values.get(key, 0.0), step=0.01, label=label, visible=key in values, elem_id=f'm2f-{key}', buttons=[]
        )

    with gr.Blocks(title='m2f', analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)) as page:
        with gr.Row():
            model = gr.Dropdown(models.names, value=models.names[0], label='model', elem_id='m2f-model')
            task = gr.Radio(tasks, value=tasks[0], label='task', elem_id='m2f-task')
        with gr.Row():
            sliders = [
                slider('score_thr', 'least score'),
                slider('object_mask_thr', 'least confidence of a segment (object_mask_thr)'),
                slider('iou_thr', 'least share of a mask that is left over (iou_thr)'),
            ]
        choices = [model, task, *sliders]
        with gr.Tab('image or camera'):
            off, listed = gr.State([]), gr.State([])
            with gr.Row():
                with gr.Column(scale=1):
                    image = gr.Image(
                        type='filepath',
                        image_mode=None,
                        sources=['upload', 'webcam', 'clipboard'],
                        webcam_options=camera,
                        label='image',
                        elem_id='m2f-image',
                        buttons=[],
                    )
                    annotation = gr.File(
                        file_types=['.json', '.png'],
                        label='ground truth: a JSON of COCO or labelme, or a label map',
                        elem_id='m2f-annotation',
                        height=140,
                    )
                    classes = gr.CheckboxGroup([], label='classes', visible=False, elem_id='m2f-classes')
                    with gr.Row():
                        buttons = [
                            gr.Button(f'save {kind}', size='sm', elem_id=f'm2f-{kind.split()[0]}') for kind in DOWNLOADS
                        ]
                    hidden = gr.DownloadButton(elem_id='m2f-download', visible='hidden')
                with gr.Column(scale=2):
                    note = gr.Markdown(elem_id='m2f-note')
                    with gr.Row():
                        predicted = gr.HTML(css_template=STYLE, elem_id='m2f-predicted')
                        truth = gr.HTML(css_template=STYLE, elem_id='m2f-truth', visible=False)
                    table = gr.Dataframe(
                        headers=HEADERS,
                        datatype=['str', 'str', 'str', 'number', 'str'],
                        interactive=False,
                        label='segments',
                        elem_id='m2f-table',
                        max_height=300,
                    )
            asked = [image, annotation, *choices, off]
            shown = [predicted, truth, table, classes, listed, note]
        with gr.Tab('images or folder'):
            with gr.Row():
                several = gr.File(
                    file_count='multiple', file_types=['image'], label='images', elem_id='m2f-several', height=160
                )
                whole = gr.File(file_count='directory', label='a folder', elem_id='m2f-folder', height=160)
            run_files = gr.Button(f'predict (at most {MAX_IMAGES})', variant='primary', elem_id='m2f-run-files')
            files_note = gr.Markdown(elem_id='m2f-files-note')
            archive = gr.File(label='drawn images and COCO JSON', interactive=False, elem_id='m2f-archive', height=80)
            gallery = gr.Gallery(
                label='drawn', columns=4, height=400, object_fit='contain', elem_id='m2f-gallery', buttons=[]
            )
        with gr.Tab('video'):
            with gr.Row():
                video = gr.Video(
                    sources=['upload', 'webcam'],
                    webcam_options=camera,
                    label='video',
                    include_audio=True,  # to leave it out, gradio needs ffmpeg
                    elem_id='m2f-video',
                )
                drawn = gr.Video(label='drawn', interactive=False, elem_id='m2f-drawn')
            joined = gr.Radio(
                ['tracks', 'frame by frame'],
                value='tracks' if first.tracks else 'frame by frame',
                label='objects',
                elem_id='m2f-joined',
            )
            run_video = gr.Button(
                f'predict (the first {MAX_FRAMES} frames)', variant='primary', elem_id='m2f-run-video'
            )
            video_note = gr.Markdown(elem_id='m2f-video-note')
            video_files = gr.File(label='video, tracks', interactive=False, file_count='multiple', height=100)

        private = dict(api_visibility='private')
        shows = dict(fn=told(answers.show), inputs=asked, outputs=shown, trigger_mode='always_last')
        gr.on([image.change, annotation.change, *(each.change for each in sliders)], **shows, api_name='segment')
        model.input(told(answers.chosen_model), model, [task, *sliders, off], **private).then(**shows, **private)
        task.input(told(answers.sliders), [model, task], sliders, **private).then(**shows, **private)
        classes.input(answers.switched, [classes, listed, off], off, **private).then(**shows, **private)
        for kind, button in zip(DOWNLOADS, buttons):
            download = told(functools.partial(_partial, answers.download, kind))
            made = button.click(
                download, [image, *choices, off], hidden, api_name=f'download_{kind.split()[0].lower()}'
            )
            made.success(None, None, None, js=CLICK)

        def files(*args: Any, progress: Any = gr.Progress()) -> list:  # noqa: B008  gradio's way
            return told(answers.files)(*args, progress_of(progress))

        def track(*args: Any, progress: Any = gr.Progress()) -> list:  # noqa: B008
            return told(answers.video)(*args, progress_of(progress))

        run_files.click(files, [several, whole, *choices], [archive, gallery, files_note], api_name='files')
        run_video.click(track, [video, joined, *choices], [drawn, video_files, video_note], api_name='video')
    return page


def _partial(function: Callable, kind: str, *args: Any) -> Any:
    return function(kind, *args)


def progress_of(progress: Any) -> Callable[[float, str], Any]:
    """Of gradio's progress, with names of uploads as text."""
    return lambda share, what: progress(share, desc=html.escape(what))
