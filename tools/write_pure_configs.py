"""Write the pure-Python form of every config in configs/ (one line each) to m2f_mm/configs.

`make install` and `pip install` do it, too. Run it after adding, renaming or removing a config of a checkout that is
used without them, or to use a new one by `read_base()` at once. Needs nothing but Python.
"""

import runpy
from pathlib import Path

CONFIGS = Path(__file__).resolve().parents[1] / 'm2f_mm' / 'apis' / 'configs.py'


def main() -> None:
    changed = runpy.run_path(str(CONFIGS))['write_pure_configs']()
    print('\n'.join(changed) or 'nothing to do')


if __name__ == '__main__':
    main()
