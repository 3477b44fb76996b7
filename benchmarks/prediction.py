"""When two predictions are equal: neither implementation guarantees an order of segments or gapless numbers."""

import torch
from torch import Tensor


def equal_results(ours, theirs) -> str:
    """Panoptic maps and instances of two lists of MMDetection's data samples."""
    words = []
    for mine, others in zip(ours, theirs, strict=True):
        words.append(equal_panoptic(mine.pred_panoptic_seg.sem_seg, others.pred_panoptic_seg.sem_seg))
        if 'pred_instances' in others:
            words.append(equal_instances(mine.pred_instances, others.pred_instances))
    return ', '.join(words)


def alike_results(ours, theirs) -> str:
    """Panoptic maps in half precision."""
    return ', '.join(
        equal_panoptic(mine.pred_panoptic_seg.sem_seg, others.pred_panoptic_seg.sem_seg, 0.1)
        for mine, others in zip(ours, theirs, strict=True)
    )


def equal_tracks(ours, theirs) -> str:
    """Tracks of every frame of two lists of MMDetection's video samples."""
    words = []
    for mine, others in zip(ours, theirs, strict=True):
        words += [
            equal_instances(a.pred_track_instances, b.pred_track_instances)
            for a, b in zip(mine.video_data_samples, others.video_data_samples, strict=True)
        ]
    return f'{len(words)} frames with {words[0]}'


def equal_panoptic(ours: Tensor, theirs: Tensor, tolerance: float = 1e-3) -> str:
    """Same class and same object at each pixel but a share of ``tolerance``."""
    assert ours.shape == theirs.shape, f'maps of {tuple(ours.shape)} and {tuple(theirs.shape)}'
    share = float((renumbered(ours) != renumbered(theirs)).float().mean())
    assert share <= tolerance, f'{share:.1%} of the panoptic map differ'
    return f'panoptic map of {len(theirs.unique())} segments within {share:.0e} of the pixels'


def renumbered(panoptic: Tensor) -> Tensor:
    """Things counted without gaps: the stock code also counts those that lose every pixel to the score filter."""
    codes, inverse = panoptic.unique(return_inverse=True)
    things = codes >= 1000
    return torch.where(things, codes % 1000 + 1000 * things.cumsum(0), codes)[inverse]


def equal_instances(ours, theirs, tolerance: float = 1e-3) -> str:
    """Scores, labels, and masks but a share of pixels."""
    assert len(ours) == len(theirs), f'{len(ours)} and {len(theirs)} instances'
    ours, theirs = ours[ours.scores.argsort()], theirs[theirs.scores.argsort()]
    assert torch.allclose(ours.scores, theirs.scores, rtol=tolerance), 'scores of instances differ'
    assert torch.equal(ours.labels, theirs.labels), 'labels of instances differ'
    share = float((ours.masks != theirs.masks).float().mean())
    assert share <= tolerance, f'{share:.1%} of the pixels of the instances differ'
    return f'{len(theirs)} instances within {share:.0e} of the pixels'


def equal_labels(ours: Tensor, theirs: Tensor, tolerance: float = 1e-3) -> str:
    """Label maps, but a share of pixels."""
    assert ours.shape == theirs.shape, f'maps of {tuple(ours.shape)} and {tuple(theirs.shape)}'
    assert len(theirs.unique()) > 1, 'a map of one label proves nothing'
    share = float((ours != theirs).float().mean())
    assert share <= tolerance, f'{share:.1%} of the label map differ'
    return f'label map of {len(theirs.unique())} classes within {share:.0e} of the pixels'
