"""Videos as files: read from a file or a folder of frames, written as one or the other, whole or not at all."""

import os
import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from m2f_mm.datasets.io import write_file

from .video_encoders import Encoder, new_encoder

IMAGES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
MAX_FPS = 65535  # of MPEG-4


@dataclass
class Video:
    """Frames of a file or of a folder, BGR uint8 (H, W, 3); reads them anew each time it is iterated.

    Args:
        path: a file that OpenCV reads, or a folder of images.
        frames: the images of a folder in their order, None for a file.
        fps: frames per second.
        length: frames, as far as a file knows; None where it does not say.

    Raises (when it is iterated):
        ValueError: a frame cannot be read, or has another size than the first; names both.
    """

    path: str
    frames: Sequence[str] | None
    fps: float
    length: int | None

    def __iter__(self) -> Iterator[np.ndarray]:
        first = None
        for name, frame in self._read() if self.frames is None else self._images():
            first = first or (name, frame.shape)
            if frame.shape != first[1]:
                raise ValueError(
                    f'the frames of {self.path} have different sizes: {first[0]} {first[1][:2]}, {name} '
                    f'{frame.shape[:2]} (H, W). Bring them to one size, or split the video'
                )
            yield frame

    def _images(self) -> Iterator[tuple[str, np.ndarray]]:
        for name in self.frames:
            data = np.fromfile(os.path.join(self.path, name), np.uint8)
            frame = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
            if frame is None:
                raise ValueError(
                    f'frame {name} of {self.path} is not a readable image; is it complete? Replace it, '
                    'or take it out of the folder'
                )
            yield name, frame

    def _read(self) -> Iterator[tuple[str, np.ndarray]]:
        capture = cv2.VideoCapture(self.path)
        try:
            count = 0
            while True:
                read, frame = capture.read()
                if not read:
                    break
                yield f'frame {count}', frame
                count += 1
            missing = (self.length or 0) - count  # some containers announce a few frames too many
            if not count or missing > max(1, (self.length or 0) // 20) or (missing > 0 and capture.grab()):
                raise ValueError(
                    f'frame {count} of {self.path} cannot be decoded, of {self.length} that the file '
                    'announces; is it complete? Convert it anew, or cut it before that frame'
                )
            if missing > 1:
                warnings.warn(f'{self.path} announces {self.length} frames and has {count}', stacklevel=2)
        finally:
            capture.release()


def open_video(path: str | Path, fps: float = 25.0) -> Video:
    """A video file or a folder of frames, which are taken in the order of their names, numbers in them by value.

    Args:
        path: of the file or folder.
        fps: frames per second, where the source does not say.

    Raises:
        FileNotFoundError: there is nothing of that name, or no image in the folder.
        ValueError: the file is no video that OpenCV can open, or ``fps`` is not above 0.
    """
    path = str(path)
    if fps <= 0:
        raise ValueError(f'fps must be above 0, got {fps}')
    if os.path.isdir(path):
        names = sorted((name for name in os.listdir(path) if name.lower().endswith(IMAGES)), key=_by_number)
        if not names:
            raise FileNotFoundError(f'{path} holds no images ({", ".join(IMAGES)})')
        return Video(path, names, fps, len(names))
    if not os.path.isfile(path):
        raise FileNotFoundError(f'there is no video or folder of frames {path!r}')
    capture = cv2.VideoCapture(path)
    try:
        if not capture.isOpened():
            raise ValueError(
                f'{path} is no video that OpenCV can open; convert it, or extract its frames into a folder'
            )
        length = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        return Video(path, None, capture.get(cv2.CAP_PROP_FPS) or fps, length if length > 0 else None)
    finally:
        capture.release()


def _by_number(name: str) -> tuple:
    """A key that sorts 2.png before 10.png, and names that are equal but for leading zeros in one order."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r'(\d+)', name))], name


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write frames, BGR uint8 (H, W, 3), as a video; the file appears when it is complete. The format wants even sides:
    others get a copy of their last row or column. It is H.264 where the package ``av`` is installed, see
    ``video_encoders``.

    Raises:
        ValueError: such a file cannot be written, or not all of it.
        OSError: the disk does not take it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix='.') as unfinished, ExitStack() as opened:
        part, encoder, count = Path(unfinished) / path.name, None, 0
        for frame in frames:
            count += 1
            frame = cv2.copyMakeBorder(frame, 0, frame.shape[0] % 2, 0, frame.shape[1] % 2, cv2.BORDER_REPLICATE)
            if encoder is None:
                encoder = opened.enter_context(_encoder(path, part, fps, frame.shape[:2]))
            with _errors_name(path):
                encoder.write(frame)
        with _errors_name(path):
            opened.close()
        if encoder is None:
            return
        try:
            written = open_video(part).length
        except ValueError:  # not even a video
            written = 0
        if written != count:
            raise ValueError(f'{path}: only {written} of {count} frames could be written; is the disk full?')
        part.replace(path)


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """Errors of the file system are about ``path``, not about the unfinished file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f'{path} cannot be written: {error.strerror}') from error


def _encoder(path: Path, part: Path, fps: float, size: tuple[int, int]) -> Encoder:
    """What writes ``part``, which becomes ``path``."""
    try:
        if not 0 < fps <= MAX_FPS:
            raise ValueError('the rate is out of range')
        return new_encoder(part, fps, size)
    except ValueError as error:
        raise ValueError(
            f'{path} cannot be written with {fps} frames per second of {size} pixels (H, W): {error}. Take a name that '
            f'ends with .mp4, at most {MAX_FPS} frames per second, or write a folder of frames'
        ) from error


def write_frames(folder: str | Path, frames: Iterable[np.ndarray], names: Sequence[str] | None = None) -> None:
    """Write frames, BGR uint8 (H, W, 3), as PNG images into a folder, which appears when it is complete.

    Args:
        folder: a new or empty one.
        frames: of the video.
        names: of the files, whose suffix becomes .png (where that would make two equal, it is added); by default they
            are numbered.

    Raises:
        FileExistsError: there is something in the folder.
    """
    folder, stems = free_folder(folder), None if names is None else [Path(name).stem for name in names]
    if stems is not None and len(set(stems)) < len(stems):
        stems = names
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix='.') as unfinished:
        part = Path(unfinished) / folder.name
        part.mkdir()
        for t, frame in enumerate(frames):
            name = f'{t:06d}' if stems is None else stems[t]
            write_file(str(part / f'{name}.png'), cv2.imencode('.png', frame)[1].tobytes())
        part.replace(folder)


def free_folder(folder: str | Path) -> Path:
    """The path of a folder for frames, if there is none of that name yet, or an empty one.

    Raises:
        FileExistsError: there is a file of that name, or something in the folder.
    """
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(f'{folder} is there already; choose another place for the frames, or remove it')
    return folder
