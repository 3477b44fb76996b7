from .official import key_map, to_openmmlab

__all__ = ['key_map', 'to_openmmlab']
