"""What MMDetection's own tools have to be told to work with this package."""

import sys
from typing import Any

import numpy as np
from mmengine.evaluator import metric

from m2f_mm.datasets.id_map import id_to_rgb
from m2f_mm.datasets.rle_masks import RLEMasks

VOID = 0  # id of void in a panoptic PNG


def tell_stock_tools() -> None:
    """Give modules that MMDetection's tools need, where they have been imported, what they lack. Called whenever
    one of our heads is built, which tools do after their imports.

    ``DetInferencer`` writes panoptic maps with two names of ``panopticapi``, which no index has: the id of void, and a
    function from ids to colors. ``DumpDetResults`` turns every list into a plain one before it asks it for bitmaps.
    cityscapesScripts 2.3 calls ``numpy.in1d``, which NumPy 2.4 does not have; OneDL's MMDetection gives it the same.
    """
    inferencer: Any = sys.modules.get('mmdet.apis.det_inferencer')
    if inferencer is not None and inferencer.VOID is None:
        inferencer.VOID, inferencer.id2rgb = VOID, id_to_rgb
    dumping: Any = sys.modules.get('mmdet.evaluation.metrics.dump_det_results')
    if dumping is not None:
        dumping._to_cpu = to_cpu
    if 'cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling' in sys.modules and not hasattr(np, 'in1d'):
        vars(np)['in1d'] = np.isin


def to_cpu(data: Any) -> Any:
    """MMEngine's function of the name ``_to_cpu``, which keeps ``RLEMasks``."""
    if isinstance(data, RLEMasks):
        return data
    if isinstance(data, dict):
        return {key: to_cpu(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [to_cpu(value) for value in data]
    return metric._to_cpu(data)
