"""Every command, link and piece of Python in README, CONTRIBUTING and docs: parsed by what it is for, not run."""

import argparse
import ast
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import m2f_mm
from m2f_mm.apis import cli
from m2f_mm.apis.command_line import config_file

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', ROOT / 'docker/README.md', *sorted(ROOT.glob('docs/*.md'))]
COMMAND = re.compile(r'(\w+=\S+ )*(m2f |\S*python tools/|\S*python -m (?!pip)|tools/\S+\.(py|sh) |make \w)')
SHIPPED = re.compile(r'(mask2former|maskformer|mask-dino|per-pixel)[\w.-]+_[\w.-]*$')  # the name of a config
FILE = re.compile(r'(configs|docs|tools|tests|benchmarks|requirements|docker)/[\w./-]*\w$')


SOURCE = ''.join(file.read_text() for file in sorted((ROOT / 'm2f_mm').rglob('*.py')))


class Command(NamedTuple):
    """A command of a page."""

    page: str
    text: str


def _fences(text):
    """Blocks of code of a page: (language, content)."""
    return [(language, content) for language, content in re.findall(r'^```(\w*)\n(.*?)^```', text, re.M | re.S)]


def _lines(text):
    """Lines of all blocks of code, and all inline code, of a page; a line that ends in a backslash goes on."""
    blocks = [content for language, content in _fences(text) if language in ('', 'bash', 'sh')]
    rest = re.sub(r'^```.*?^```', '', text, flags=re.M | re.S)
    blocks += re.findall(r'(?:^ {4}.*\n)+', rest, re.M)
    for block in blocks:
        for line in re.sub(r'\\\n\s*', ' ', block).splitlines():
            yield from re.split(r' {4,}|(?<=\S) {2,}#|\s#\s', line.strip())
    inline = re.sub(r'^ {4}.*\n', '', rest, flags=re.M)
    for code in re.findall(r'`([^`]+)`', inline):
        yield code.replace('\n', ' ').replace('\\|', '|')


def _commands():
    return [
        Command(str(page.relative_to(ROOT)), line.strip())
        for page in PAGES
        for line in _lines(page.read_text())
        if COMMAND.match(line.strip())
    ]


def _example(text):
    """A usage such as ``[--resume [auto|PATH]] [--cfg-options ...]`` as one command of that form."""
    text = re.sub(r'[\[\]]', ' ', text)
    text = re.sub(r'(--cfg-options) +\.\.\.', r'\1 a=1', text).replace('...', '')
    return [word.split('|')[0] for word in shlex.split(text)]


class Parsed(BaseException):
    """The arguments have been accepted; nothing is run."""


@pytest.fixture
def parsed(monkeypatch):
    """A function that runs a program up to its parsed arguments, which it returns; None for its help."""
    parse = argparse.ArgumentParser.parse_args

    def stop(parser, args=None, namespace=None):
        raise Parsed(parse(parser, args, namespace))

    def parsed(run, *arguments):
        monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', stop)
        monkeypatch.setattr(sys, 'argv', ['program', *arguments])
        try:
            run()
        except Parsed as done:
            return done.args[0]
        except SystemExit as end:
            assert end.code == 0, f'exit status {end.code}'
            return None
        finally:
            monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', parse)
        return None

    return parsed


def _check_program(words, parsed):
    """``python FILE ...``, ``python -m MODULE ...``."""
    if words[:2] == ['-m', 'pytest']:
        assert all((ROOT / word).exists() for word in words[2:] if word.startswith('tests'))
        return None
    if words[0] == '-m':
        words = [words[1].replace('.', '/') + '.py', *words[2:]]
    file = ROOT / words[0]
    assert file.is_file(), f'there is no {words[0]}'
    if not re.search(r'argparse|runner import command', file.read_text()):
        assert len(words) == 1, f'{words[0]} takes no arguments'
        return None
    return parsed(lambda: runpy.run_path(str(file), run_name='__main__'), *words[1:])


def _check_script(words, parsed, folder):
    """A shell script: run up to the program that it starts, whose arguments are parsed."""
    script = ROOT / words[0]
    assert os.access(script, os.X_OK), f'{words[0]} is no program'
    if words[0] == 'tools/install.sh':
        known = script.read_text()
        assert all(f'{word})' in known or f'{word} |' in known for word in words[1:] if word.startswith('-'))
        return None
    for name in ('python', 'srun'):  # stand-ins that print their arguments
        (folder / name).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        (folder / name).chmod(0o755)
    environment = {**os.environ, 'PATH': f'{folder}:{os.environ["PATH"]}', 'PYTHON': 'python'}
    done = subprocess.run([script, *words[1:]], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    started = done.stdout.splitlines()
    tool = next(place for place, word in enumerate(started) if word.endswith('.py') and '/tools/' in word)
    return _check_program([str(Path(started[tool]).resolve().relative_to(ROOT)), *started[tool + 1 :]], parsed)


def _check_make(words):
    text = (ROOT / 'Makefile').read_text()
    for word in words:
        name, value, _ = word.partition('=')
        found = rf'^{name} \?=|\$[({{]+{name}\b|^# Variables:.*\b{name}\b' if value else rf'^{name}:'
        assert re.search(found, text, re.M), f'the Makefile has no {word}'


@pytest.mark.parametrize('command', sorted(set(_commands())), ids=lambda command: f'{command.page}: {command.text}')
def test_command(command, parsed, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = _example(command.text)
    while re.match(r'\w+=', words[0]):
        words.pop(0)
    program, *rest = words
    if program == 'm2f':
        if re.fullmatch(r'm2f( [a-z]+){1,2}', command.text):  # a command is spoken of
            rest.append('--help')
        arguments = parsed(lambda: cli.main(rest), *rest)
    elif program == 'make':
        arguments = _check_make(rest)
    elif program.endswith('.sh'):
        arguments = _check_script(words, parsed, tmp_path)
    else:
        arguments = _check_program(rest if program.endswith('python') else words, parsed)
    for value in vars(arguments).values() if arguments else ():
        if isinstance(value, str) and (SHIPPED.match(value) or value.startswith('configs/')):
            config_file(value)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
class TestPage:
    """What a page names is there."""

    def test_links(self, page):
        text = re.sub(r'^```.*?^```', '', page.read_text(), flags=re.M | re.S)
        for target in re.findall(r'\]\(([^)\s]+)\)', text):
            if '://' in target or target == 'api/index.md':
                continue
            file, _, anchor = target.partition('#')
            other = (page.parent / file).resolve() if file else page
            assert other.exists(), f'{target}: there is no {file}'
            if anchor:
                assert anchor in _anchors(other), f'{target}: {other.name} has no such heading'

    def test_files(self, page):
        for code in re.findall(r'`([^`\n]+)`', page.read_text()):
            if FILE.match(code) and not any(sign in code for sign in '*{<'):
                places = (ROOT / code, ROOT / f'{code}.py', page.parent / code, ROOT / 'm2f_mm' / code)
                assert any(place.exists() for place in places), f'there is no {code}'

    def test_python(self, page):
        for language, content in _fences(page.read_text()):
            if language != 'python':
                continue
            ast.parse(content)
            for kind in re.findall(r"type='m2f_mm\.(\w+)'", content):
                assert f'class {kind}(' in SOURCE, f'there is no class {kind}'
            for name in re.findall(r"config_path\('([^']+)'\)", content):
                m2f_mm.config_path(name)


def _anchors(page):
    headings = re.findall(r'^#+ (.*)$', re.sub(r'^```.*?^```', '', page.read_text(), flags=re.M | re.S), re.M)
    texts = [re.sub(r'[^\w\s-]', '', heading).strip().lower() for heading in headings]
    return {re.sub(r'[-\s]+', '-', text) for text in texts}
