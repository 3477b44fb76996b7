"""Backbones that neither stack has."""

from .efficientnet_lite import EfficientNetLite

__all__ = ['EfficientNetLite']
