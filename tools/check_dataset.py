"""Read the data sets of a config as training would, and say what is wrong with them: by kind, with the first files.

    python tools/check_dataset.py CONFIG [--splits train val] [--workers 8] [--cfg-options ...]

Looks for broken and missing files, records that contradict themselves, sizes that disagree, masks that cannot be read,
labels that no class has, classes that never occur, and whatever else stops the pipeline. Ends with status 1 if there is
anything that training would refuse; what it leaves out is noted. It takes as long as an epoch of loading.
"""

import argparse
import sys

from mmengine.config import Config, DictAction

from m2f_mm.apis.check_dataset import check_dataset
from m2f_mm.apis.command_line import config_file
from m2f_mm.datasets.faults import summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='a file, or the name of a shipped one')
    parser.add_argument('--splits', nargs='+', choices=('train', 'val', 'test'), default=['train', 'val'])
    parser.add_argument('--workers', type=int, default=4, help='processes; 0 for this one alone')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='changes of the config, key=value')
    args = parser.parse_args()
    try:
        cfg = Config.fromfile(config_file(args.config))
    except FileNotFoundError as error:
        parser.error(str(error))
    cfg.merge_from_dict(args.cfg_options or {})
    wrong = False
    for split in args.splits:
        count, faults = check_dataset(cfg, split, args.workers)
        problems, notes = ([fault for fault in faults if fault.fatal == fatal] for fatal in (True, False))
        print(f'{split}: {count} items, {len(problems)} problems' + (f', {len(notes)} notes' if notes else ''))
        print(
            *(f'  {line}' for line in summary(problems)),
            *(f'  note: {line}' for line in summary(notes)),
            sep='\n',
            end='\n' if faults else '',
        )
        wrong |= bool(problems)
    sys.exit(int(wrong))


if __name__ == '__main__':
    main()
