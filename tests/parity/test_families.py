"""Recorded cases of families that are still to come skip, each with that reason; a kind nobody knows fails."""
import json

import pytest
from golden import ROOT

BUILT = {'m2f_image', 'm2f_pixel_decoder', 'm2f_criterion', 'm2f_inference', 'maskformer_heads',
         'mdino_pixel_decoder', 'mdino', 'mdino_criterion', 'mdino_inference'}
TO_COME = {'m2f_video': 'video Mask2Former'}


@pytest.mark.parametrize('path', sorted(ROOT.glob('*.json')), ids=lambda path: path.stem)
def test_every_recorded_case_is_known(path):
    kind = json.loads(path.read_text()).get('kind')
    if kind in TO_COME:
        pytest.skip(f'{TO_COME[kind]} is not built yet')
    assert kind in BUILT, f'{path.name} records a {kind!r}, which no test here reads'
