"""Tools refuse to write over the data of their config."""

import pytest
from mmengine.config import Config

from m2f_mm.apis.outputs import refuse_data_outputs


def config(root, **changes):
    dataset = dict(
        type='ClassBalancedDataset',
        dataset=dict(type='X', data_root=str(root), ann_file='annotations/val.json', data_prefix=dict(img='images/')),
    )
    cfg = Config(
        dict(
            work_dir=str(root / 'work_dirs'),
            load_from=str(root / 'weights.pkl'),
            test_dataloader=dict(dataset=dataset),
            visualizer=dict(type='V', vis_backends=[dict(type='LocalVisBackend')]),
            default_hooks=dict(visualization=dict(type='DetVisualizationHook')),
            test_evaluator=[
                dict(
                    type='m2f_mm.PanopticMetric',
                    ann_file=str(root / 'annotations/p.panoptic.json'),
                    seg_prefix=str(root / 'annotations/seg'),
                )
            ],
        )
    )
    cfg.merge_from_dict(changes)
    return cfg


@pytest.mark.parametrize(
    ('option', 'path'),
    [
        ('work_dir', 'images/run'),
        ('work_dir', 'annotations/seg'),
        ('work_dir', 'link'),
        ('test_evaluator.0.outfile_prefix', 'annotations/p'),
        ('test_evaluator.0.outfile_prefix', 'images/x'),
        ('test_evaluator.0.output_dir', 'annotations/seg/'),
        ('test_evaluator.0.output_dir', '.'),
        ('test_evaluator.0.out_file_path', 'weights.pkl'),
        ('test_evaluator.0.out_file_path', 'hard.pkl'),
        ('default_hooks.visualization.test_out_dir', 'images'),
        ('visualizer.save_dir', 'work_dirs/../images'),
        ('visualizer.vis_backends.0.img_save_dir', 'images'),
    ],
)
def test_outputs_among_the_data(option, path, tmp_path):
    for folder in ('images', 'annotations/seg'):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / 'link').symlink_to(tmp_path / 'images')
    (tmp_path / 'weights.pkl').write_text('')
    (tmp_path / 'hard.pkl').hardlink_to(tmp_path / 'weights.pkl')
    refuse_data_outputs(config(tmp_path))
    refuse_data_outputs(config(tmp_path, **{option: str(tmp_path / 'results' / 'r')}))
    refuse_data_outputs(config(tmp_path, work_dir=str(tmp_path)))
    with pytest.raises(ValueError, match=option.rsplit('.', 1)[-1] + '.* would write .*read as data'):
        refuse_data_outputs(config(tmp_path, **{option: f'{tmp_path}/{path}'}))
