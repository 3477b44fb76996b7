"""Identity switches, counted by hand."""

import numpy as np
from pycocotools import mask as coco_masks

from m2f_mm.evaluation.functional.identity import Identity, identity_switches
from m2f_mm.structures import Track


def track(*places):
    """Squares of 10 pixels at the given columns, None where nothing is seen."""
    masks = []
    for place in places:
        mask = np.zeros((20, 100), np.uint8, order='F')
        if place is not None:
            mask[5:15, place : place + 10] = 1
        masks.append(None if place is None else coco_masks.encode(mask))
    return Track(0, masks)


def test_tracks_that_stay():
    objects = [track(0, 1, 2), track(50, None, 52)]
    assert identity_switches(objects, [track(51, None, 52), track(0, 1, 3)]) == Identity(0, 5, 5)


def test_tracks_that_change_places():
    objects = [track(0, 0, 0, 0), track(50, 50, 50, 50)]
    assert identity_switches(objects, [track(0, 0, 50, 50), track(50, 50, 0, 0)]) == Identity(2, 8, 8)


def test_an_object_that_returns_as_another():
    objects = [track(0, None, 0, 0)]
    assert identity_switches(objects, [track(0, None, None, None), track(None, None, 0, 0)]) == Identity(1, 3, 3)
    assert identity_switches(objects, [track(0, None, None, 0)]) == Identity(0, 2, 3)  # not found for a while


def test_what_is_not_found():
    assert identity_switches([track(0, 0)], [track(8, 8)]) == Identity(0, 0, 2)
    assert identity_switches([track(0, 0)], []) == Identity(0, 0, 2)
    assert identity_switches([], [track(0)]) == Identity(0, 0, 0)
    assert Identity(1, 2, 3) + Identity(4, 5, 6) == Identity(5, 7, 9)


def test_of_two_tracks_the_old_one():
    assert identity_switches([track(0, 0)], [track(2, 0), track(0, 2)]) == Identity(0, 2, 2)
    assert identity_switches([track(0, 0)], [track(2, 0), track(0, 9)]) == Identity(1, 2, 2)
