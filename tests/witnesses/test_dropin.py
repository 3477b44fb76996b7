"""One import swaps the classes of unchanged configs; in a process of its own, because that lasts."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
SCRIPT = '''
import m2f_mm.dropin
from m2f_mm.integrations import Mask2FormerHead, Mask2FormerSegHead, Mask2FormerTrackHead, MaskFormerFusionHead
from thin import build_detector, build_segmentor, detection_batch, mmdet_config, mmseg_config, semantic_batch, step
from thin import clip_batch, video_config

detector = build_detector(mmdet_config())
assert type(detector.panoptic_head) is Mask2FormerHead
assert type(detector.panoptic_fusion_head) is MaskFormerFusionHead
assert all(loss.isfinite() for loss in step(detector, detection_batch()).values())

tracker = build_detector(video_config())
assert type(tracker.track_head) is Mask2FormerTrackHead
assert all(loss.isfinite() for loss in step(tracker, clip_batch()).values())

segmentor = build_segmentor(mmseg_config())
assert type(segmentor.decode_head) is Mask2FormerSegHead
assert all(loss.isfinite() for loss in step(segmentor, semantic_batch()).values())
print('swapped')
'''


def test_dropin():
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), str(tests.parent), os.environ.get('PYTHONPATH', '')])
    environment = {**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run([sys.executable, '-c', SCRIPT], env=environment, text=True, capture_output=True)
    assert done.returncode == 0 and done.stdout.endswith('swapped\n'), done.stderr[-2000:]
