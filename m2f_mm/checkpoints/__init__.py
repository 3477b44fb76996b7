"""Weights of every source: reading files safely, and the names of their weights."""

from . import huggingface, official
from .loading import load_named, register_translation, safe_loading
from .official import key_map, to_openmmlab
from .reading import read_state_dict
from .sources import source_of, to_huggingface, to_official, to_ours

__all__ = [
    'huggingface',
    'key_map',
    'load_named',
    'official',
    'read_state_dict',
    'register_translation',
    'safe_loading',
    'source_of',
    'to_huggingface',
    'to_official',
    'to_openmmlab',
    'to_ours',
]
