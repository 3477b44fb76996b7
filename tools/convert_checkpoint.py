"""Convert weights between this package's names and those of other sources, after comparing them with a config.

    python tools/convert_checkpoint.py model_final_94dc52.pkl out.pth \\
        --config configs/mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py

Reads detectron2's pickles and files of the official code, MMDetection's and MMSegmentation's Mask2Former, Hugging
Face's safetensors and .bin, MMDetection's DINO (what Mask DINO shares with it: --partial), and plain backbones
(detectron2's ResNets, Swin's releases); the names say which it is.
Nothing in a file is run. `load_from` and `test.py` take the same files without conversion; this tool is for checking
them, and for passing them on: --to official writes what the detectron2 code loads; --to huggingface, for Mask2Former
and MaskFormer with a ResNet or Swin, the `model.safetensors` or `pytorch_model.bin` that from_pretrained of
transformers reads beside a config.json. Note that the official weights are under CC BY-NC 4.0.
"""

import argparse
import hashlib
import os
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from m2f_mm.heads import HEAD_NAMES, head_name


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path)
    parser.add_argument('target', type=Path, help='a .pth file; for Hugging Face .safetensors or .bin')
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
        '--to',
        choices=('ours', 'official', 'huggingface'),
        default='ours',
        help='whose names: official are those of the detectron2 code, huggingface those of transformers',
    )
    parser.add_argument(
        '--head', choices=HEAD_NAMES, default='panoptic_head', help='without a config: what the model calls its head'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from m2f_mm.checkpoints import read_state_dict, source_of, to_huggingface, to_official, to_ours
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
        ours = to_ours(state, head, class_ids, source)
        print(f'{args.source}: {source}, {len(state)} tensors, {len(ours)} for the model')
        if model is not None:
            ours, num_problems = fitting(ours, model, not any(name.startswith(f'{head}.') for name in ours))
            if num_problems and not args.partial:
                sys.exit('Nothing was written: the weights are not those of the config. --partial writes what fits')
        if args.to == 'official':
            content = dict(model=to_official(ours, head, class_ids), matching_heuristics=False)
        elif args.to == 'huggingface':
            content = to_huggingface(ours, head, class_ids)
        else:
            content = dict(state_dict=ours)
    except (ValueError, KeyError, OSError) as error:
        sys.exit(f'{args.source}: {error.args[0] if isinstance(error, KeyError) else error}')
    checksum = hashlib.sha256(args.source.read_bytes()).hexdigest()
    meta = dict(
        source=source, source_file=args.source.name, source_sha256=checksum, converted_by=f'm2f_mm {__version__}'
    )
    args.target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = args.target.with_name(f'.{args.target.name}.partial')
    try:
        if args.to == 'huggingface':
            save_as_transformers(content, unfinished, args.target.suffix, meta)
        else:
            torch.save(dict(content, meta=meta), unfinished)
        os.replace(unfinished, args.target)
    finally:
        unfinished.unlink(missing_ok=True)
    print(f'{args.target}: written; SHA-256 of the source {checksum}')


def save_as_transformers(state: dict[str, Tensor], path: Path, suffix: str, meta: dict[str, str]) -> None:
    """Write weights as transformers does: safetensors, or for another suffix ``torch.save`` without a wrapper."""
    if suffix != '.safetensors':
        torch.save(state, path)
        return
    from safetensors.torch import save_file

    save_file({name: value.contiguous() for name, value in state.items()}, str(path), dict(meta, format='pt'))


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


def fitting(ours: dict[str, Tensor], model: nn.Module, backbone_only: bool) -> tuple[dict[str, Tensor], int]:
    """The weights that fit the model, and the number of those that do not or are missing, which are printed.

    Args:
        ours: weights under our names.
        model: of the config.
        backbone_only: the weights are of the backbone alone, its output norms (Swin's) excepted; a Swin's names begin
            with ``backbone.``, a ResNet's do not.
    """
    from m2f_mm.apis.weights import load_weights

    part = model.backbone if backbone_only else model
    prefix = 'backbone.' if backbone_only and all(name.startswith('backbone.') for name in ours) else ''
    report = load_weights(part, {name.removeprefix(prefix): value for name, value in ours.items()})
    shapes = {prefix + name: tuple(value.shape) for name, value in part.state_dict().items()}
    reshaped = [
        f'{name}: {tuple(ours[name].shape)} in the file, {shapes[name]} in the model'
        for name in (prefix + name for name in report.reshaped)
    ]
    missing = [name for name in report.missing if not (backbone_only and name.startswith('norm'))]
    fits = {name: value for name, value in ours.items() if shapes.get(name) == tuple(value.shape)}
    print(f'{len(fits)} tensors fit the model')
    for title, names in (
        ('have another shape', reshaped),
        ('are missing', missing),
        ('are left over', report.unexpected),
    ):
        if names:
            print(f'{len(names)} {title}:', *names[:10], *(['...'] if len(names) > 10 else []), sep='\n  ')
    return fits, len(reshaped) + len(missing) + len(report.unexpected)


if __name__ == '__main__':
    main()
