"""What MMDetection's own tools have to be told to work with this package."""
import sys

from m2f_mm.datasets.id_map import id_to_rgb

VOID = 0  # id of void in a panoptic PNG


def do_without_panopticapi() -> None:
    """Let MMDetection's ``DetInferencer``, where it has been imported, write panoptic maps without ``panopticapi``.

    It takes two names of that package, which no index has: the id of void, and a function from ids to colors. Called
    whenever one of our heads is built, which an inferencer does after it has been imported.
    """
    inferencer = sys.modules.get('mmdet.apis.det_inferencer')
    if inferencer is not None and inferencer.VOID is None:
        inferencer.VOID, inferencer.id2rgb = VOID, id_to_rgb
