"""Images of tracked frames in testing and validation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
from mmengine.fileio import get
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from m2f_mm.registry import HOOKS


@HOOKS.register_module()
class VideoVisualizationHook(Hook):
    """MMDetection's ``TrackVisualizationHook`` for data whose frames lie in a folder per video, as YouTube-VIS's do:
    that one writes the frames of all videos over each other there.

    In testing, frames go to ``work_dir/timestamp/test_out_dir/<video>/<frame>`` where ``test_out_dir`` is given, and
    otherwise, as in validation, to the visualizer's backends.

    Args:
        draw: without it nothing is drawn.
        frame_interval: every so many frames one is drawn.
        score_thr: tracks with a lower score are left out.
        show: open a window for every drawn frame.
        wait_time: seconds that it stays.
        test_out_dir: folder for the images of a test.
        backend_args: how to read frames, see ``mmengine.fileio``.
    """

    def __init__(
        self,
        draw: bool = False,
        frame_interval: int = 1,
        score_thr: float = 0.3,
        show: bool = False,
        wait_time: float = 0.0,
        test_out_dir: str | None = None,
        backend_args: dict | None = None,
    ):
        self.draw = draw
        self.frame_interval = frame_interval
        self.score_thr = score_thr
        self.show = show
        self.wait_time = wait_time
        self.test_out_dir = test_out_dir
        self.backend_args = backend_args

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None
    ) -> None:
        """Draw frames of a validation."""
        self._draw(outputs, 'val', None, runner.iter + batch_idx)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None
    ) -> None:
        """Draw frames of a test."""
        folder = Path(runner.work_dir, runner.timestamp, self.test_out_dir) if self.test_out_dir else None
        self._draw(outputs, 'test', folder, batch_idx)

    def _draw(self, clips: Sequence | None, name: str, folder: Path | None, step: int) -> None:
        for clip in (clips or ()) if self.draw else ():
            for frame in clip.video_data_samples[:: self.frame_interval]:
                path = Path(frame.img_path)
                image = mmcv.imfrombytes(get(frame.img_path, backend_args=self.backend_args), channel_order='rgb')
                Visualizer.get_current_instance().add_datasample(
                    f'{name}_{path.parent.name}_{path.stem}',
                    image,
                    data_sample=frame,
                    show=self.show,
                    wait_time=self.wait_time,
                    pred_score_thr=self.score_thr,
                    step=step,
                    out_file=str(folder / path.parent.name / path.name) if folder else None,
                )
