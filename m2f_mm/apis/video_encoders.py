"""Video files frame by frame: H.264, which browsers play, with the package ``av``; without it MPEG-4 with OpenCV."""

import warnings
from contextlib import nullcontext, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol

import cv2
import numpy as np

H264_FILES = ('.mp4', '.m4v', '.mov', '.mkv')
_CONSTANT_QUALITY = '20'  # x264's crf: 0 is lossless, 23 its default; outlines and letters are still clean
_BT601 = 6  # the matrix with which FFmpeg makes YUV of RGB, as ITU-T H.273 numbers it; players guess otherwise


class Encoder(Protocol):
    """A file that is complete when the context ends."""

    def __enter__(self) -> 'Encoder':
        """Itself."""

    def __exit__(self, *error: object) -> None:
        """Close the file."""

    def write(self, frame: np.ndarray) -> None:
        """Append a frame, BGR uint8 (H, W, 3)."""


def new_encoder(path: Path, fps: float, size: tuple[int, int]) -> Encoder:
    """What writes ``path``, by what is installed and by the suffix.

    Args:
        path: of the new file.
        fps: frames per second.
        size: height and width, even.

    Raises:
        ValueError: such a file cannot be written.
    """
    if path.suffix.lower() in H264_FILES:
        try:
            return H264Encoder(path, fps, size)
        except ImportError:
            warnings.warn(
                'the video is MPEG-4, which browsers do not play; for H.264: pip install av (the extra [video])',
                stacklevel=3,
            )
    return OpenCVEncoder(path, fps, size)


class H264Encoder:
    """H.264 with 4:2:0 colors, its index at the front of the file, so that a browser starts before it has all of it.

    Args:
        path: of the new file.
        fps: frames per second.
        size: height and width, even.

    Raises:
        ImportError: the package ``av``, or x264 in it, is not installed.
        ValueError: FFmpeg cannot write such a file.
    """

    def __init__(self, path: Path, fps: float, size: tuple[int, int]):
        import av

        if 'libx264' not in av.codecs_available:
            raise ImportError('the installed package av has no libx264')
        self._av = av
        height, width = size
        options = {} if path.suffix.lower() == '.mkv' else dict(movflags='+faststart')
        self._file = av.open(str(path), 'w', options=options)
        self._stream = self._file.add_stream(
            'libx264', rate=Fraction(fps).limit_denominator(1001), options=dict(crf=_CONSTANT_QUALITY)
        )
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, 'yuv420p'
        self._stream.codec_context.colorspace = _BT601
        try:
            self._stream.codec_context.open()
        except (OSError, ValueError) as error:  # FFmpeg's own are kinds of them
            self._file.close()
            raise ValueError(f'FFmpeg cannot write it: {error}') from error

    def __enter__(self) -> 'H264Encoder':
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with nullcontext() if error is None else suppress(OSError):  # the first error says what is wrong
            try:
                if error is None:
                    self._file.mux(self._stream.encode(None))
            finally:
                self._file.close()

    def write(self, frame: np.ndarray) -> None:
        """See ``Encoder``."""
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format='bgr24')
        self._file.mux(self._stream.encode(frame))


class OpenCVEncoder:
    """MPEG-4 part 2 in whatever container the suffix names.

    Args:
        path: of the new file.
        fps: frames per second.
        size: height and width, even.

    Raises:
        ValueError: OpenCV cannot write such a file.
    """

    def __init__(self, path: Path, fps: float, size: tuple[int, int]):
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), fps, size[::-1])
        if not self._writer.isOpened():
            raise ValueError('OpenCV cannot write it')

    def __enter__(self) -> 'OpenCVEncoder':
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.release()

    def write(self, frame: np.ndarray) -> None:
        """See ``Encoder``."""
        self._writer.write(frame)
