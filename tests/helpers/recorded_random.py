"""The random points that our criterion drew, replayed to another implementation that calls ``torch.rand``."""

import torch

from m2f_mm.criterion import RandomPoints


class RecordedPoints(RandomPoints):
    """Draws, and remembers what it drew by kind and layer."""

    def __init__(self, seed=0):
        self.generator = torch.Generator().manual_seed(seed)
        self.drawn = {}

    def _draw(self, kind, layer, count, num_points):
        value = torch.rand(count, num_points, 2, generator=self.generator)
        self.drawn[kind, layer] = value
        return value

    def matching(self, layer, batch, num_points, device):
        return self._draw('matching', layer, batch, num_points)

    def candidates(self, layer, num_masks, num_points, device):
        return self._draw('candidates', layer, num_masks, num_points)

    def uniform(self, layer, num_masks, num_points, device):
        return self._draw('uniform', layer, num_masks, num_points)

    def in_order(self, layers):
        """As other implementations call: layer by layer, first each image's matching, then the points of the loss."""
        for layer in layers:
            yield from self.drawn['matching', layer].split(1)
            yield from (self.drawn[kind, layer] for kind in ('candidates', 'uniform') if len(self.drawn[kind, layer]))


class Replay:
    """Stands in for ``torch.rand``."""

    def __init__(self, values):
        self.values = list(values)

    def __call__(self, *size, device=None):
        size = size[0] if isinstance(size[0], (tuple, list)) else size
        value = self.values.pop(0)
        assert value.shape == tuple(size), f'drew {tuple(value.shape)}, asked for {tuple(size)}'
        return value.clone()
