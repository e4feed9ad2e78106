"""The examples of docs/design.md run."""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path

import pytest
from etils import epath
from rich.console import Console

from sweb_jax import layout, records, tasks
from sweb_jax.records import Example
from sweb_jax.runtime import manifest
from sweb_jax.runtime.hosts import Hosts
from sweb_jax.study import opened, runner

PAGE = (Path(__file__).parents[1] / 'docs/design.md').read_text()


def example(name: str) -> types.ModuleType:
  """The code block after a mark, as a module."""
  code = re.search(rf'<!-- run: {name} -->\n```python\n(.*?)```', PAGE, re.S)[1]
  module = types.ModuleType(f'example_{name.replace(" ", "_")}')
  sys.modules[module.__name__] = module  # Where dataclasses look for it.
  exec(compile(code, 'docs/design.md', 'exec'), module.__dict__)
  return module


@pytest.fixture
def graded(runs, tmp_path):
  """A study whose samples are graded, and a function that runs further steps in its workdir."""
  root = epath.Path(tmp_path / 'workdir')
  config = runs.tiny(task__train=24)
  runs(root, config, ('plan', 'sample', 'grade'))
  study = opened.open_study(config)

  def run(steps):
    context = study.context(root, Hosts())
    runner.run(context, [*study.graph.steps, *steps], ('grade',), Console(quiet=True), 1, study.assumed(root))

  return root, study.graph.steps, run


@pytest.mark.slow
def test_a_task_is_one_file_and_one_line(runs, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'sweb_jax.tasks.larger', example('a task'))
  monkeypatch.setitem(tasks._FROM_FILES, 'larger', 'Larger')
  root = tmp_path / 'workdir'
  runs(root, runs.tiny(task__name='larger', gold=True, train__too_long='leave_out', generators=('wc',),
                       budgets={'low': {'wc': 2}}))  # fmt: skip
  assert (root / layout.scores(layout.TEST, 0, 'wc', 'gold') / layout.MANIFEST).exists()


@pytest.mark.slow
def test_a_kind_of_step_runs_beside_the_others(graded):
  root, steps, run = graded
  added = example('a kind of step').lengths(steps)
  run(added)
  for step in added:
    assert manifest.read(root, step.folder).done
    assert json.loads((root / step.folder / 'lengths.json').read_text())['median'] > 5


@pytest.mark.slow
def test_a_kind_of_arm_is_selected_as_every_other(graded):
  root, steps, run = graded
  run(example('a kind of arm').together(steps, 'both_low', 'wc_low'))

  def kept(arm):
    return list(records.read(Example, root / layout.examples(0, arm) / layout.EXAMPLES))

  both = {(e.problem_id, e.solution) for e in kept('both_low')}
  assert both == {(e.problem_id, e.solution) for arm in ('wc_low', 'se_low') for e in kept(arm)}
