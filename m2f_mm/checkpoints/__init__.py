from . import huggingface, official
from .backbones import load_backbone
from .official import key_map, to_openmmlab

__all__ = ['huggingface', 'key_map', 'load_backbone', 'official', 'to_openmmlab']
