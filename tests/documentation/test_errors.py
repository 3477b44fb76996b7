"""The messages that docs/errors.md quotes are those of the source."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOLE = '\0'  # where a message has a value


def _quoted():
    text = (ROOT / 'docs/errors.md').read_text()
    ours, _, _ = text.partition('## Of torch and the stacks')
    for row in re.findall(r'^\| (?!message|---)(.*?) \|', ours, re.M):
        yield from re.findall(r'`([^`]+)`', row)


def _templates():
    """All texts in the source, with a hole for each value."""
    texts = []
    for file in [*sorted((ROOT / 'm2f_mm').rglob('*.py')), *sorted((ROOT / 'tools').rglob('*.py'))]:
        if 'configs' in file.parts or '.mim' in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                texts.append(''.join(part.value if isinstance(part, ast.Constant) else HOLE for part in node.values))
    return '\n'.join(texts)


@pytest.fixture(scope='module')
def templates():
    return _templates()


@pytest.mark.parametrize('message', list(_quoted()))
def test_message_is_in_the_source(message, templates):
    fixed = [re.escape(part) for part in message.strip('. ').split('...')]
    assert re.search(r'[^\n]*'.join(fixed), templates), f'no message of the source is: {message}'
