"""A recorded case of a kind that no test reads fails."""
import json

import pytest
from golden import ROOT

BUILT = {'m2f_image', 'm2f_pixel_decoder', 'm2f_criterion', 'm2f_inference', 'maskformer_heads',
         'mdino_pixel_decoder', 'mdino', 'mdino_criterion', 'mdino_inference', 'm2f_video'}


@pytest.mark.parametrize('path', sorted(ROOT.glob('*.json')), ids=lambda path: path.stem)
def test_every_recorded_case_is_known(path):
    kind = json.loads(path.read_text()).get('kind')
    assert kind in BUILT, f'{path.name} records a {kind!r}, which no test here reads'
