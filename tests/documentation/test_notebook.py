"""The notebook's cells run, one after the other, with a few images and one step."""

import json
from pathlib import Path

import pytest

pytest.importorskip('mmdet')
NOTEBOOK = Path(__file__).resolve().parents[2] / 'docs/own_data.ipynb'
SMALL = dict(images=4, max_iters=1)  # in the place of the cell that is tagged 'parameters'


@pytest.fixture
def cells():
    return json.loads(NOTEBOOK.read_text())['cells']


def test_cells_run(cells, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # Configs are logged and saved without the formatting of their code, which is half of the time of this test.
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True))
    namespace = {'__name__': '__main__'}
    for cell in cells:
        if cell['cell_type'] != 'code':
            continue
        exec(compile(''.join(cell['source']), str(NOTEBOOK), 'exec'), namespace)
        if 'parameters' in cell['metadata'].get('tags', ()):
            assert set(SMALL) < set(namespace)
            namespace.update(SMALL)
    assert 'COCO panoptic' in capsys.readouterr().out
    assert len(list(Path('notebook/drawn').iterdir())) == 2 and Path('notebook/samples.jpg').is_file()


def test_no_outputs_are_stored(cells):
    assert all(not cell.get('outputs') for cell in cells) and NOTEBOOK.stat().st_size < 2**14
