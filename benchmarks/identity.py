"""Do tracks keep their objects where a video is predicted in windows? Identity switches on annotated videos that fit
into one clip, beside the whole clip.

    python -m benchmarks.identity CONFIG CHECKPOINT
"""

import argparse
from functools import reduce
from operator import add
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from m2f_mm.apis.command_line import config_file
from m2f_mm.apis.video import load_video_model, predict_video
from m2f_mm.apis.video_files import Video
from m2f_mm.evaluation.functional.identity import identity_switches
from m2f_mm.evaluation.metrics.youtube_vis_metric import annotated_tracks

WAYS = {
    'whole clip': dict(),
    'windows of 8, 4 shared': dict(window_size=8, window_overlap=4),
    'windows of 8, 2 shared': dict(window_size=8, window_overlap=2),
    'windows of 8': dict(window_size=8),
    'windows of 4, 2 shared': dict(window_size=4, window_overlap=2),
    'frame by frame': dict(association='frames'),
}


def videos(cfg: Config):
    """Frames and objects of each video of the test data set."""
    from mmdet.structures import DetDataSample

    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, pipeline=[]))
    for item in dataset:
        frames = [
            DetDataSample(metainfo=dict(video_id=video, instances=instances, ori_shape=(height, width)))
            for video, instances, height, width in zip(
                item['video_id'], item['instances'], item['height'], item['width']
            )
        ]
        names = [Path(path).resolve() for path in item['img_path']]
        yield Video(str(names[0].parent), [str(name) for name in names], 25, len(names)), annotated_tracks(frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--score-thr', type=float, default=0.3, help='tracks with a lower score are left out')
    parser.add_argument('--device', default='cuda:0' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args()
    cfg = Config.fromfile(config_file(args.config))
    model = load_video_model(cfg, args.checkpoint, args.device)
    data = list(videos(cfg))
    print('| | identity switches | objects found, over all frames |\n|---|---|---|')
    for name, way in WAYS.items():
        model.track_head.test_cfg = dict(model.cfg.model.test_cfg, **way)
        counts = reduce(
            add,
            (
                identity_switches(
                    objects, [track for track in predict_video(model, video)[0] if track.score >= args.score_thr]
                )
                for video, objects in data
            ),
        )
        print(f'| {name} | {counts.switches} | {counts.found} of {counts.visible} |', flush=True)


if __name__ == '__main__':
    main()
