"""The package is described in pyproject.toml; this writes the generated configs before its packages are looked for."""

import runpy
from pathlib import Path

from setuptools import setup

configs = Path(__file__).resolve().parent / 'm2f_mm' / 'apis' / 'configs.py'  # by path: our requirements may be missing
runpy.run_path(str(configs))['write_pure_configs']()
setup()
