"""Write the pure-Python form of every config in configs/ (one line each) to m2f_mm/configs.

Run it after adding, renaming or removing a config; a test fails when it was forgotten.
"""

from m2f_mm.apis.configs import write_pure_configs


def main() -> None:
    changed = write_pure_configs()
    print('\n'.join(changed) or 'nothing to do')


if __name__ == '__main__':
    main()
