from .class_counts import check_class_counts
from .hooks import ClassCountHook
from .optim_wrapper_constructor import Mask2FormerOptimWrapperConstructor

__all__ = ['ClassCountHook', 'Mask2FormerOptimWrapperConstructor', 'check_class_counts']
