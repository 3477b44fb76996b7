"""What tools and other projects call."""

from .configs import config_path, pure_config, shipped_configs

__all__ = ['config_path', 'pure_config', 'shipped_configs']
