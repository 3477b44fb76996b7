from . import huggingface, official
from .loading import load_named, safe_loading, translate
from .official import key_map, to_openmmlab
from .reading import read_state_dict
from .sources import source_of, to_official, to_ours

__all__ = [
    'huggingface',
    'key_map',
    'load_named',
    'official',
    'read_state_dict',
    'safe_loading',
    'source_of',
    'to_official',
    'to_openmmlab',
    'to_ours',
    'translate',
]
