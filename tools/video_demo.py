"""Track the objects of a video: an overlay video, and the tracks as JSON.

    python tools/video_demo.py CONFIG CHECKPOINT VIDEO [--out-dir DIR]

VIDEO is a file or a folder of frames. It may have any length: it is predicted in overlapping windows. A Mask2Former for
images will do: frames are predicted on their own then, and joined. Models with panoptic output draw the panoptic video.
"""

import argparse
import json
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.utils import ProgressBar

import m2f_mm  # noqa: F401  tells torch which types a checkpoint may hold
from m2f_mm.apis.command_line import config_file, existing_file, user_errors
from m2f_mm.apis.video import as_video, drawn_frames, load_video_model, predict_video, tracks_as_json
from m2f_mm.apis.video_files import free_folder, open_video, write_frames, write_video
from m2f_mm.checkpoints import safe_loading
from m2f_mm.datasets.io import refuse_inputs, write_file


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file, or the name of one that m2f_mm ships')
    parser.add_argument('checkpoint', help='checkpoint file of any source')
    parser.add_argument('video', help='video file, or folder of frames')
    parser.add_argument(
        '--out-dir', type=Path, default=Path('outputs'), help='for NAME.mp4 or the folder NAME, and NAME.json'
    )
    parser.add_argument(
        '--window',
        type=int,
        help='frames that are predicted together, 0 for the whole video (default as in the config, or 20)',
    )
    parser.add_argument('--overlap', type=int, help='frames that two windows share (default as in the config, or 5)')
    parser.add_argument(
        '--per-frame',
        action='store_true',
        help='predict every frame on its own, as MinVIS (models of images always do)',
    )
    parser.add_argument(
        '--max-tracks', type=int, help='results of a video (default as in the config of a video model, or 10)'
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help='tracks with a lower score are not drawn (panoptic segments all are)',
    )
    parser.add_argument('--fps', type=float, default=25, help='frames per second of a folder (default 25)')
    drawn = parser.add_mutually_exclusive_group()
    drawn.add_argument('--frames', action='store_true', help='draw into a folder of images, NAME, instead of a video')
    drawn.add_argument('--no-video', action='store_true', help='write the JSON only')
    parser.add_argument('--device', default='cuda:0' if torch.cuda.is_available() else 'cpu')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override entries of the config'
    )
    return parser.parse_args(args)


def configure(test_cfg: dict, args: argparse.Namespace) -> None:
    """What the command line says goes before what the config says."""
    given = dict(
        window_size=args.window,
        window_overlap=args.overlap,
        max_per_video=args.max_tracks,
        association='frames' if args.per_frame else None,
    )
    if args.per_frame:  # frames on their own share none
        test_cfg.pop('window_overlap', None)
    test_cfg.update({key: value for key, value in given.items() if value is not None})
    if args.window or 'window_size' not in test_cfg:
        size = test_cfg.setdefault('window_size', 20)
        if test_cfg.get('association') != 'frames':
            test_cfg.setdefault('window_overlap', min(5, size - 1))
    if not test_cfg['window_size']:
        test_cfg.update(window_size=None, window_overlap=0)


def target(args: argparse.Namespace) -> Path:
    """What is written, without its suffix; beside the video nothing is written over."""
    source = Path(args.video).resolve()
    out = args.out_dir / (source.name if source.is_dir() else source.stem)
    suffixes = ['.json', *([''] if args.frames else [] if args.no_video else ['.mp4'])]
    for path in (out.with_name(out.name + suffix) for suffix in suffixes):
        if args.out_dir.resolve() == source.parent and path.exists():
            raise ValueError(
                f'--out-dir: {path} lies beside the video, or is the video itself, and would be written '
                'over; choose another folder'
            )
        refuse_inputs([str(path)], [str(source), args.checkpoint], '--out-dir', around=False)
    return free_folder(out) if args.frames else out


@safe_loading()
def main() -> None:
    args = parse_args()
    with user_errors():
        video = open_video(args.video, args.fps)
        cfg = Config.fromfile(config_file(args.config))
        cfg.merge_from_dict(args.cfg_options or {})
        cfg = as_video(cfg)
        configure(cfg.model.test_cfg, args)
        out = target(args)
        model = load_video_model(cfg, existing_file(args.checkpoint, 'checkpoint'), args.device)
        classes = model.dataset_meta['classes']
        tracks, panoptic = predict_video(model, video, ProgressBar(video.length or 0))
        segments, covered = (None, []) if panoptic is None else panoptic.segment_tracks()
        content = json.dumps(tracks_as_json(video, tracks, classes, segments, covered))
        write_file(f'{out}.json', content.encode())
        print(
            f'\n{len(tracks)} tracks'
            + (f' and {len(segments)} panoptic segments' if panoptic else '')
            + f' are in {out}.json'
        )
        if not args.no_video:
            shown, threshold = (tracks, args.score_thr) if panoptic is None else (covered, 0.0)
            drawn = drawn_frames(video, shown, classes, threshold)
            if args.frames:
                write_frames(out, drawn, video.frames)
            else:
                write_video(f'{out}.mp4', drawn, video.fps)
            print(f'the video is {out}' + ('' if args.frames else '.mp4'))


if __name__ == '__main__':
    main()
