"""Layers as they are defined, without a thought for time."""


def slow_sampling(value, shapes, locations, weights):
    """Deformable attention as it is defined: one head, one query, one point, one corner at a time (zero outside)."""
    batch, _, heads, dims = value.shape
    queries = locations.shape[1]
    result = value.new_zeros(batch, queries, heads, dims)
    for b in range(batch):
        for q in range(queries):
            for m in range(heads):
                start = 0
                for level, (height, width) in enumerate(shapes):
                    for k in range(locations.shape[-2]):
                        x, y = (locations[b, q, m, level, k] * locations.new_tensor([width, height]) - 0.5).unbind()
                        left, top = int(x.floor()), int(y.floor())
                        for column, row in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
                            if 0 <= column < width and 0 <= row < height:
                                share = (1 - (x - column).abs()) * (1 - (y - row).abs())
                                result[b, q, m] = result[b, q, m] + (
                                    weights[b, q, m, level, k] * share * value[b, start + row * width + column, m]
                                )
                    start += height * width
    return result.flatten(2)
