"""Every command of README.md and docs/ runs and prints what is shown there, or says when it was run last."""

from __future__ import annotations

import datetime
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from sweb_jax.config import checks

ROOT = Path(__file__).parents[1]
PAGES = ('README.md', *sorted(f'docs/{p.name}' for p in (ROOT / 'docs').glob('*.md')))
FENCE = re.compile(r'((?:^ *<!--[^\n]*-->\n)*)^( *)```([^\n]*)\n(.*?)^\2```$', re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r'not run: [^;]+; (last run (\d{4}-\d\d-\d\d)|never run)')
PROMPT = re.compile(r'^\$ ((?:.*\\\n)*.*)\n?', re.MULTILINE)
LINKED = ('benchmarks', 'configs', 'constraints', 'launch', 'sweb_jax', 'tests')


class Block(NamedTuple):
  """What stands between two fences."""

  marks: tuple[str, ...]
  """The comments above it."""
  language: str
  text: str


def blocks(page: str) -> list[Block]:
  """Those of a page."""
  found = []
  for marks, indent, language, text in FENCE.findall((ROOT / page).read_text()):
    lines = (line.removeprefix(indent) for line in text.splitlines(keepends=True))
    found.append(Block(tuple(re.findall(r'<!-- (.*?) -->', marks)), language, ''.join(lines)))
  return found


def commands(page: str) -> list[Block]:
  return [b for b in blocks(page) if b.language in ('bash', 'console')]


def shown(text: str) -> list[tuple[str, str]]:
  """Commands of a block with prompts, each with what is printed after it."""
  _, *parts = PROMPT.split(text)
  return list(zip(parts[::2], parts[1::2], strict=True))


def fits(printed: str, expected: str) -> bool:
  """Whether it is what is shown. `...` stands for anything in a line, and in a line of its own for any lines."""
  pattern = ''
  for line in expected.strip().splitlines():
    if line.strip() == '...':
      pattern += r'(?:[^\n]*\n)*?'
    else:
      pattern += r'[^\n]*?'.join(map(re.escape, line.rstrip().split('...'))) + r'\n'
  lines = [line.rstrip() for line in printed.strip().splitlines()]
  return re.fullmatch(pattern, ''.join(f'{line}\n' for line in lines)) is not None


@pytest.fixture
def place(finished, tmp_path) -> Path:
  """A folder like a clone where the quickstart was run, with its programs on PATH."""
  for name in LINKED:
    (tmp_path / name).symlink_to(ROOT / name)
  (tmp_path / '.venv/bin').mkdir(parents=True)
  for program, code in (('python', ''), ('sweb', '-c "from sweb_jax import cli; cli.main()" ')):
    path = tmp_path / '.venv/bin' / program
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {code}"$@"\n')
    path.chmod(0o755)
  shutil.copytree(finished.workdir, tmp_path / 'runs/quickstart')
  for name in ('policies', 'quickstart_full'):  # Other studies that pages speak of.
    (tmp_path / 'runs' / name).symlink_to('quickstart')
  return tmp_path


def run(place: Path, script: str) -> str:
  """What the commands print, errors included."""
  path = f'{place}/.venv/bin:{os.environ["PATH"]}'
  env = os.environ | {'PATH': path, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}
  done = subprocess.run(
    ['bash', '-e', '-o', 'pipefail', '-c', script], cwd=place, env=env, text=True, check=False,
    stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
  )  # fmt: skip
  refused = done.stdout.startswith('Error: ')  # What a page may show too.
  assert done.returncode == refused, f'{script}\n{done.stdout}'
  return done.stdout


@pytest.mark.parametrize('page', [p for p in PAGES if commands(p)])
def test_every_command_says_whether_it_is_run(page):
  for block in commands(page):
    (said,) = [m for m in block.marks if m == 'run' or m.startswith('not run')] or [None]
    assert said, f'{page}: no <!-- run --> or <!-- not run: WHY; last run DATE --> above\n{block.text}'
    if said != 'run':
      found = NOT_RUN.fullmatch(said)
      assert found, f'{page}: {said!r} is not of the form `not run: WHY; last run DATE`, or `...; never run`'
      assert not found[2] or datetime.date.fromisoformat(found[2]) <= datetime.date.today()


@pytest.mark.parametrize('page', PAGES)
def test_every_command_is_in_a_block_of_commands(page):
  """Else it would be tested by nothing."""
  for block in blocks(page):
    if block.language not in ('bash', 'console'):
      assert not re.search(r'^(\$|python|sweb|pip|bash|git|gcloud) \S', block.text, re.MULTILINE), block.text


@pytest.mark.parametrize('page', PAGES)
def test_the_fields_that_a_page_sets_are_there(page):
  for block in blocks(page):
    if block.language == 'python' and block.text.startswith('config.'):
      config = runpy.run_path(str(ROOT / 'configs/quickstart.py'))['get_config']().unlock()
      exec(block.text, {'config': config})
      checks._known_fields(config)


@pytest.mark.slow
@pytest.mark.parametrize('page', [p for p in PAGES if any('run' in b.marks for b in commands(p))])
def test_the_commands_of_a_page_print_what_it_shows(place, page):
  for block in blocks(page):
    for mark in block.marks:
      if mark.startswith('run: ') and mark.endswith('.py'):  # A file that the commands read.
        (place / mark.removeprefix('run: ')).write_text(block.text)
    if 'run' not in block.marks:
      continue
    if block.language == 'bash':
      said = run(place, block.text)
      assert not said.startswith('Error: '), said
    for command, expected in shown(block.text) if block.language == 'console' else ():
      printed = run(place, command)
      assert fits(printed, expected), f'{page}: {command}\nshown:\n{expected}\nprinted:\n{printed}'


def test_what_is_shown_fits_but_for_what_is_left_out():
  assert fits('a 1 s\n\nb\nc\n', 'a ... s\n...\nc')
  assert fits('b', 'b') and fits('', '') and fits('a\nb', '...')
  assert not fits('a 1 s\nb', 'a ... s') and not fits('a\nb', 'b') and not fits('x', 'y ...')
  assert shown('$ one \\\n  two\nsaid\n$ three\n') == [('one \\\n  two', 'said\n'), ('three', '')]
