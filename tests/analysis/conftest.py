"""A small finished workdir whose every figure can be worked out by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from etils import epath

from sweb_jax import layout, records
from sweb_jax.analysis import Listed, Study
from sweb_jax.budget import Arm, Comparison
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime import files, manifest
from sweb_jax.runtime.manifest import Manifest

SCRIPT = '<script>alert("x")</script> & https://example.org'

# Of 10 and 20 parameters, all in the embedding and the last norm.
SHAPES = {'wc': ModelConfig(9, 1, 1, 0, 1, 1, 2), 'se': ModelConfig(19, 1, 1, 0, 1, 1, 2)}
RATE = 0.0025
STAGES = {
  'problems': 'plan', 'samples': 'sample', 'verdicts': 'grade', 'allocations': 'grade', 'models': 'train',
  'scores': 'evaluate', 'report': 'report',
}  # fmt: skip

# (set, generator): for each training problem its samples as (text, correct, valid).
DRAWN = {
  (0, 'wc'): [
    [('x', True, True), ('x ', True, True), (SCRIPT, False, None)],
    [('u', False, False), ('u', False, False), ('v', True, False)],
  ],
  (1, 'wc'): [
    [('a', True, True), ('b', True, False), ('c', False, False)],
    [('c', False, False), ('c', False, False), ('c', False, False)],
  ],
  (0, 'se'): [[('x', True, True)], [('y', False, False)]],
  (1, 'se'): [[('x', False, False)], [('y', False, False)]],
}

# (set, learner, source): greedy correctness on the four test problems.
GREEDY = {
  (0, 'student', 'base'): (0, 0, 0, 0),
  (1, 'student', 'base'): (1, 0, 0, 0),
  (0, 'student', 'wc_low'): (1, 1, 1, 0),
  (1, 'student', 'wc_low'): (1, 1, 0, 0),
  (0, 'student', 'se_low'): (1, 0, 0, 0),
  (1, 'student', 'se_low'): (1, 0, 0, 0),
  (0, 'student', 'gold'): (1, 1, 1, 1),
  (1, 'student', 'gold'): (1, 1, 1, 1),
}


def _draws(pairs):
  """Samples and verdicts of (problem id, index, text, correct, valid); a wrong one without reasoning is cut."""
  samples, verdicts, firsts = [], [], {}
  for problem_id, index, text, correct, valid in pairs:
    cut = not correct and valid is None
    finish = 'length' if cut else 'stop'
    samples.append(Sample(problem_id, index, text, tuple(range(len(text[:3]) + 1)), finish, -1.0))
    answer = None if cut else '7' if correct else '8'
    vote = None if cut else firsts.setdefault((problem_id, answer), index)
    reason = 'right' if correct else 'wrong answer'
    verdicts.append(Verdict(problem_id, index, answer, correct, reason, valid, vote=vote))
  return samples, verdicts


def _listed(folder: str, extent: dict | None = None, work: tuple[dict, ...] = ()) -> Listed:
  kind = layout.kind_of(folder)
  return Listed(folder, kind, STAGES[kind], 'v', extent or {}, work)


def _done(root: Path, step: Listed) -> None:
  said = Manifest(step.version, step.kind, 1, {}, {}, {}, extent=step.extent, done=True)
  manifest.write(epath.Path(root), step.folder, said)


def _write(path: Path, rows: list) -> None:
  files.write_text(path, records.dumps(rows))


@pytest.fixture
def change_study():
  """A function: gives fields of a workdir's study.json other values."""

  def change(root: Path, **fields) -> None:
    path = root / layout.STUDY
    files.write_json(path, json.loads(path.read_text()) | fields)

  return change


@pytest.fixture
def add_step(change_study):
  """A function: a further step of a workdir's study, which is done."""

  def add(root: Path, folder: str, extent: dict | None = None) -> None:
    step = _listed(folder, extent)
    steps = json.loads((root / layout.STUDY).read_text())['steps']
    change_study(root, steps=[*steps, dataclasses.asdict(step)])
    _done(root, step)

  return add


@pytest.fixture
def make_workdir(tmp_path, write_workdir):
  """Writes the workdir with the given question sets and comparisons and returns its folder."""

  def make(name='work', sets=(0, 1), compare=True) -> Path:
    return write_workdir(tmp_path / name, sets, compare)

  return make


@pytest.fixture(scope='session')
def write_workdir():
  """A function: what `make_workdir` does, at any place."""

  def write(root: Path, sets=(0, 1), compare=True) -> Path:
    steps = []
    for s in sets:
      for split, count in (('train', 2), ('validation', 1), ('test', 4)):
        problems = [Problem(f'{split}{s}-{i}', f'question {i} < 3 ?', '7', ('3 + 4 = 7',)) for i in range(count)]
        steps.append(_listed(layout.problems(s, split), {'problems': count}))
        _write(root / steps[-1].folder / layout.PROBLEMS, problems)
      for g, count in (('wc', 3), ('se', 1)):
        rows = [
          (f'train{s}-{p}', i, *sample) for p, row in enumerate(DRAWN[s, g]) for i, sample in enumerate(row)
        ]
        samples, verdicts = _draws(rows)
        extent = {'problems': 2, 'samples': count}
        planned = {'kind': 'sample', 'model': g, 'samples': 6, 'tokens': 30, 'flops': 600}
        steps.append(_listed(layout.samples(s, g), extent, (planned,) if g == 'wc' else ()))
        folder = root / steps[-1].folder
        # Two chunks, out of order, and one sample in both.
        _write(folder / layout.numbered(layout.CHUNKS, 0), samples[:0:-1])
        _write(folder / layout.numbered(layout.CHUNKS, 1), samples[:2])
        prompts = {'model': g, 'prefix': 5, 'prompts': {f'train{s}-{i}': 3 for i in range(2)}}
        files.write_json(folder / layout.PROMPTS, prompts)
        steps.append(_listed(layout.verdicts(s, g), extent))
        _write(root / steps[-1].folder / layout.numbered(layout.VERDICTS, 0), verdicts[::-1])
      for source in (layout.BASE, 'wc_low', 'se_low', 'gold'):
        if source != layout.BASE:
          planned = {'kind': 'train', 'model': 'student', 'samples': 6, 'tokens': 30, 'flops': 600}
          steps.append(_listed(layout.model(s, 'student', source), {}, (planned,) if source == 'wc_low' else ()))
          selection = {'learning_rate': RATE, 'step': 75 + s, 'validation': [], 'examples': 2}
          files.write_json(root / steps[-1].folder / layout.SELECTION, selection)
        steps.append(_listed(layout.scores(layout.TEST, s, 'student', source), {'problems': 4, 'votes': 3}))
        folder = root / steps[-1].folder / (layout.BASE if source == layout.BASE else layout.rate(RATE))
        greedy = GREEDY[s, 'student', source]
        # Drawn: two of three samples agree with greedy decoding.
        drawn = [(p, i, bool(c) ^ (i == 1)) for p, c in enumerate(greedy) for i in range(3)]
        for kind, rows in (
          (layout.GREEDY, [(p, 0, bool(c)) for p, c in enumerate(greedy)]), (layout.DRAWN, drawn)
        ):  # fmt: skip
          samples, verdicts = _draws([(f'test{s}-{p}', i, 't', c, True) for p, i, c in rows])
          _write(folder / kind / layout.numbered(layout.CHUNKS, 0), samples)
          _write(folder / kind / layout.numbered(layout.VERDICTS, 0), verdicts)
    for step in steps:
      _done(root, step)
    study = Study(
      name='hand-made <study>',
      made_world=True,
      question_sets=tuple(sets),
      generators=('wc', 'se'),
      learners=('student',),
      parameters={'wc': 10, 'se': 20, 'student': 15},
      arms=(
        Arm('wc_low', 'wc', 2, 'low', 'compute'),
        Arm('se_low', 'se', 1, 'low', 'compute'),
        Arm('gold', None, None, None, None),
      ),
      comparisons=(Comparison('low budget', 'wc_low', 'se_low'),) if compare else (),
      maj_k=(1, 3),
      steps=(*sorted(steps, key=lambda step: list(STAGES.values()).index(step.stage)), _listed(layout.REPORT)),
      shapes={g: dataclasses.asdict(shape) for g, shape in SHAPES.items()},
    )
    files.write_json(root / layout.STUDY, study.json())
    files.write_json(root / layout.CONFIG, {'name': 'hand-made', 'sampling': {'seed': 3}})
    return root

  return write
