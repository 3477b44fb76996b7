"""Convert weights of another source to this package's, after comparing them with a config.

    python tools/convert_checkpoint.py model_final_94dc52.pkl out.pth \\
        --config configs/mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py

Reads detectron2's pickles and files of the official code, MMDetection's and MMSegmentation's Mask2Former, Hugging
Face's safetensors and .bin, MMDetection's DINO (what Mask DINO shares with it: --partial), and plain backbones
(detectron2's ResNets, Swin's releases); the names say which it is.
Nothing in a file is run. `load_from` and `test.py` take the same files without conversion; this tool is for checking
them, and for passing them on. Note that the official weights are under CC BY-NC 4.0.
"""

import argparse
import hashlib
import os
import sys
from pathlib import Path

import torch

from m2f_mm.heads import HEAD_NAMES, head_name


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path)
    parser.add_argument('target', type=Path, help='a .pth file')
    parser.add_argument(
        '--config',
        help='the model that the weights are for, a file or the name of a shipped one; it '
        'also says in which order its data set lists the classes',
    )
    parser.add_argument(
        '--keep-order',
        action='store_true',
        help='without a config: classes keep the order of the '
        'source. Only for data sets whose order is the published one: not the panoptic ones of ADE20K, '
        'Cityscapes and Mapillary',
    )
    parser.add_argument('--partial', action='store_true', help='write even where weights are missing or do not fit')
    parser.add_argument(
        '--to', choices=('ours', 'official'), default='ours', help='official: as the detectron2 code loads it, instead'
    )
    parser.add_argument(
        '--head', choices=HEAD_NAMES, default='panoptic_head', help='without a config: what the model calls its head'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from m2f_mm.checkpoints import read_state_dict, source_of, to_official, to_ours
    from m2f_mm.checkpoints.sources import BACKBONE
    from m2f_mm.datasets.io import refuse_inputs
    from m2f_mm.version import __version__

    try:
        refuse_inputs([str(args.target)], [str(args.source), args.config or ''], 'target')
        state = read_state_dict(args.source)
        source = source_of(state)
        if not (args.config or args.keep_order or source == BACKBONE):
            sys.exit(
                f'{args.source}: --config CONFIG is needed: some data sets list the classes in another order than '
                'the published weights. --keep-order says that this is none of them'
            )
        model = build(args.config) if args.config else None
        head = args.head if model is None else head_name(model)
        class_ids = model and getattr(getattr(model, head), 'class_ids', None)
        ours = to_ours(state, head, class_ids)
    except (ValueError, KeyError, OSError) as error:
        sys.exit(f'{args.source}: {error.args[0] if isinstance(error, KeyError) else error}')
    print(f'{args.source}: {source}, {len(state)} tensors, {len(ours)} for the model')
    if model is not None:
        ours, problems = compare(ours, model)
        if problems and not args.partial:
            sys.exit('Nothing was written: the weights are not those of the config. --partial writes what fits')
    if args.to == 'official':
        try:
            content = dict(model=to_official(ours, head, class_ids), matching_heuristics=False)
        except KeyError as error:
            sys.exit(f'{args.source}: {error.args[0]}')
    else:
        content = dict(state_dict=ours)
    checksum = hashlib.sha256(args.source.read_bytes()).hexdigest()
    meta = dict(
        source=source, source_file=args.source.name, source_sha256=checksum, converted_by=f'm2f_mm {__version__}'
    )
    args.target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = args.target.with_name(f'.{args.target.name}.partial')
    try:
        torch.save(dict(content, meta=meta), unfinished)
        os.replace(unfinished, args.target)
    finally:
        unfinished.unlink(missing_ok=True)
    print(f'{args.target}: written; SHA-256 of the source {checksum}')


def build(config: str) -> torch.nn.Module:
    """The model of a config, without weights."""
    from mmengine.config import Config
    from mmengine.registry import MODELS, DefaultScope, init_default_scope

    from m2f_mm.apis.command_line import config_file

    cfg = Config.fromfile(config_file(config))
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    cfg.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        return MODELS.build(cfg.model)


def compare(ours: dict, model: torch.nn.Module) -> tuple[dict, int]:
    """Say what fits, what is missing, what is left over; return what fits and the number of problems."""
    backbone_only = not any(name.startswith(head_name(model)) for name in ours)
    prefix = 'backbone.' if all(name.startswith('backbone.') for name in ours) else ''
    part = model.backbone.state_dict(prefix=prefix) if backbone_only else model.state_dict()
    wanted = {name: value.shape for name, value in part.items()}
    fits = {name: value for name, value in ours.items() if wanted.get(name) == value.shape}
    shapes = [
        f'{name}: {tuple(value.shape)} in the file, {tuple(wanted[name])} in the model'
        for name, value in ours.items()
        if name in wanted and name not in fits
    ]
    made = ('relative_position_index', 'num_batches_tracked', 'criterion.class_weight')  # by the model itself
    missing = [
        name
        for name in wanted
        if name not in ours and not name.endswith(made) and not (backbone_only and name.startswith(f'{prefix}norm'))
    ]  # Swin's output norms start anew
    left = [name for name in ours if name not in wanted and not name.endswith(made)]
    print(f'{len(fits)} tensors fit the model')
    for title, names in (('have another shape', shapes), ('are missing', missing), ('are left over', left)):
        if names:
            print(f'{len(names)} {title}:', *names[:10], *(['...'] if len(names) > 10 else []), sep='\n  ')
    return fits, len(shapes) + len(missing) + len(left)


if __name__ == '__main__':
    main()
