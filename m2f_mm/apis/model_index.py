"""``docs/model_zoo.md``, out of the model index."""

from m2f_mm.checkpoints.released import Released, released_models

ABOUT = """<!-- Written by `python tools/write_model_zoo.py` from the metafiles in configs. -->
# Model zoo

Published numbers are the authors', with their code and weights, single scale unless a column says otherwise. What we
have not run ourselves is "not run". Parameters are those that are trained; the tests count them. The weights are the
authors': Mask2Former's and MaskFormer's under CC BY-NC 4.0; Mask DINO's come without a licence, its code is
under the Apache License 2.0.

A config's name loads its released weights, which are fetched from where the table links to:

    python tools/test.py CONFIG m2f_mm://NAME

and `load_from='m2f_mm://NAME'` starts a training from them. Without a network, put the file into a folder that the
variable `M2F_MM_WEIGHTS` names.
"""


def model_zoo() -> str:
    """``docs/model_zoo.md``: a table for each collection, task and data set."""
    lines = [ABOUT]
    groups: dict[tuple[str, str, str], list[Released]] = {}
    for model in released_models():
        groups.setdefault((model.collection, model.dataset, model.task), []).append(model)
    for (collection, dataset, task), models in groups.items():
        names = list(dict.fromkeys(name for model in models for name in (*model.published, *model.ours)))
        lines += [
            f'## {collection}: {dataset}, {task.lower()}',
            '',
            f'| config | schedule | parameters | {" | ".join(names)} | by us | weights |',
            '|' + '---|' * (len(names) + 5),
        ]
        for model in models:
            numbers = ' | '.join(str(model.published.get(name, '')) for name in names)
            ours = ', '.join(f'{name} {value}' for name, value in model.ours.items()) or 'not run'
            lines.append(
                f'| `configs/{model.config}` | {model.schedule} | {model.parameters:.2f} M | '
                f'{numbers} | {ours} | [file]({model.weights}) |'
            )
        lines.append('')
    return '\n'.join(lines)
