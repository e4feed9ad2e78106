"""A small finished workdir whose every figure can be worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweb_jax import records
from sweb_jax.records import Problem, Sample, Verdict

SCRIPT = '<script>alert("x")</script> & https://example.org'

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


def _write(path: Path, text: str) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)


@pytest.fixture
def make_workdir(tmp_path):
  """Writes the workdir with the given question sets and comparisons and returns its folder."""

  def make(name='work', sets=(0, 1), compare=True) -> Path:
    root = tmp_path / name
    plan = {
      'name': 'hand-made <study>',
      'made_world': True,
      'question_sets': list(sets),
      'generators': ['wc', 'se'],
      'learners': ['student'],
      'models': {'wc': {'parameters': 10}, 'se': {'parameters': 20}, 'student': {'parameters': 15}},
      'arms': [
        {'name': 'wc_low', 'generator': 'wc', 'samples': 2, 'budget': 'low', 'matched': 'compute'},
        {'name': 'se_low', 'generator': 'se', 'samples': 1, 'budget': 'low', 'matched': 'compute'},
        {'name': 'gold', 'generator': None, 'samples': None, 'budget': None, 'matched': None},
      ],
      'comparisons': [{'name': 'low budget', 'a': 'wc_low', 'b': 'se_low'}] if compare else [],
      'maj_k': [1, 3],
      'jobs': [
        {'name': f'{folder}/set{s}/{model}', 'kind': kind, 'model': model, 'samples': 6, 'tokens': 30, 'flops': 600}
        for folder, kind, model in (('samples', 'sample', 'wc'), ('train', 'train', 'student'))
        for s in sets
      ],
    }
    _write(root / 'plan/plan.json', json.dumps(plan))
    _write(root / 'config.json', json.dumps({'name': 'hand-made', 'sampling': {'seed': 3}}))
    for s in sets:
      for split, count in (('train', 2), ('validation', 1), ('test', 4)):
        problems = [Problem(f'{split}{s}-{i}', f'question {i} < 3 ?', '7', ('3 + 4 = 7',)) for i in range(count)]
        _write(root / f'problems/set{s}/{split}.jsonl', records.dumps(problems))
      for g in ('wc', 'se'):
        rows = [
          (f'train{s}-{p}', i, *sample) for p, row in enumerate(DRAWN[s, g]) for i, sample in enumerate(row)
        ]
        samples, verdicts = _draws(rows)
        # Two chunks, out of order, and one sample in both.
        _write(root / f'samples/set{s}/{g}/chunk-00000.jsonl', records.dumps(samples[:0:-1]))
        _write(root / f'samples/set{s}/{g}/chunk-00001.jsonl', records.dumps(samples[:2]))
        _write(root / f'grades/set{s}/{g}.jsonl', records.dumps(verdicts[::-1]))
      for source in ('base', 'wc_low', 'se_low', 'gold'):
        if source != 'base':
          selection = {'learning_rate': 0.0025, 'step': 75 + s, 'validation': [], 'examples': 2}
          _write(root / f'train/set{s}/student/{source}/selection.json', json.dumps(selection))
        folder = root / f'evaluate/set{s}/student/{source}'
        greedy = GREEDY[s, 'student', source]
        # Drawn: two of three samples agree with greedy decoding.
        drawn = [(p, i, bool(c) ^ (i == 1)) for p, c in enumerate(greedy) for i in range(3)]
        for kind, rows in (('greedy', [(p, 0, bool(c)) for p, c in enumerate(greedy)]), ('drawn', drawn)):
          samples, verdicts = _draws([(f'test{s}-{p}', i, 't', c, True) for p, i, c in rows])
          _write(folder / f'{kind}.jsonl', records.dumps(samples))
          _write(folder / f'{kind}.verdicts.jsonl', records.dumps(verdicts))
    return root

  return make
