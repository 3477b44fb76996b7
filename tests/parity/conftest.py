"""Recorded image models, each built once for all files."""

import pytest

from tests.helpers.golden import (
    OfficialModel,
    cases,
    load,
    with_weights,
)

CASES = cases('m2f_image')


@pytest.fixture(scope='module', params=CASES)
def case(request):
    """(configuration, recording, model with the recorded weights)."""
    info, recorded = load(request.param)
    return info, recorded, with_weights(OfficialModel(info['cfg']), recorded)
