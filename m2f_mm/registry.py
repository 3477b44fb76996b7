"""The scope ``m2f_mm``: child registries of MMEngine's root registries.

``locations`` makes MMEngine import the named packages when one of the registries is first searched, so that
``type='m2f_mm.Mask2FormerHead'`` works in the config of any project, with no ``custom_imports`` and whatever its
``default_scope`` is.
"""

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISBACKENDS as MMENGINE_VISBACKENDS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry

SCOPE = 'm2f_mm'


def _child(name: str, parent: Registry, *packages: str) -> Registry:
    return Registry(name, parent=parent, scope=SCOPE, locations=[f'{SCOPE}.{package}' for package in packages])


MODELS = _child('model', MMENGINE_MODELS, 'models', 'integrations', 'checkpoints')  # the last: m2f_mm:// weights
TASK_UTILS = _child('task util', MMENGINE_TASK_UTILS, 'criterion')
DATASETS = _child('dataset', MMENGINE_DATASETS, 'datasets', 'integrations')
TRANSFORMS = _child('transform', MMENGINE_TRANSFORMS, 'datasets', 'integrations')
METRICS = _child('metric', MMENGINE_METRICS, 'evaluation', 'integrations')
HOOKS = _child('hook', MMENGINE_HOOKS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('optimizer wrapper constructor', MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS, 'engine')
VISUALIZERS = _child('visualizer', MMENGINE_VISUALIZERS, 'visualization')
VISBACKENDS = _child('visualization backend', MMENGINE_VISBACKENDS, 'visualization')
