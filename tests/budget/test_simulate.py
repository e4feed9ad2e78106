"""A recorded store under other policies and budgets, through the command."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
import re
import shutil

import pytest
from etils import epath

from sweb_jax import layout, records
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime import files, manifest
from sweb_jax.runtime.manifest import Manifest
from tests import forked

ROOT = pathlib.Path(__file__).parents[2]
SHAPES = {'wc': ModelConfig(10, 4, 8, 1, 1, 1, 4), 'se': ModelConfig(10, 8, 16, 1, 1, 1, 8)}
PROBLEMS, DEPTH = 6, 8


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """Six problems, eight samples of four tokens of each generator; 'p4' is right from WC's index 4 and SE's 2 on."""
  root = tmp_path_factory.mktemp('recorded')
  problems = [Problem(f'p{i}', 'question', '1') for i in range(PROBLEMS)]
  files.write_text(root / layout.problems(0, 'train') / layout.PROBLEMS, records.dumps(problems))
  files.write_json(root / layout.CONFIG, {
    'generators': ['se', 'wc'], 'seed': 5,
    'policies': {'mine': {'kind': 'until_solved', 'generators': ['wc'], 'correct': 2}},
    'estimate': {'few_shot_tokens': 0, 'prompt_tokens': 3, 'completion_tokens': 4},
    'sampling': {'few_shot': False}, 'cost': {'share_prefix': True},
  })  # fmt: skip
  for g, pace in (('wc', 1), ('se', 0.5)):
    rows = [(f'p{p}', i, i >= p * pace) for p in range(PROBLEMS) for i in range(DEPTH)]
    samples = [Sample(p, i, f'text {i // 2}', (5, 6, 7, 1), 'stop', -1.0) for p, i, _ in rows]
    files.write_text(root / layout.samples(0, g) / layout.numbered(layout.CHUNKS, 0), records.dumps(samples))
    verdicts = [Verdict(p, i, '1', right, 'right') for p, i, right in rows]
    files.write_text(root / layout.verdicts(0, g) / layout.numbered(layout.VERDICTS, 0), records.dumps(verdicts))
  steps = {layout.problems(0, 'train'): {'problems': PROBLEMS}}
  steps |= {of(0, g): {'samples': DEPTH} for g in SHAPES for of in (layout.samples, layout.verdicts)}
  for folder, extent in steps.items():
    said = Manifest('v', layout.kind_of(folder), 1, {}, {}, {}, extent=extent, done=True)
    manifest.write(epath.Path(root), folder, said)
  files.write_json(root / layout.STUDY, {
    'shapes': {g: dataclasses.asdict(s) for g, s in SHAPES.items()}, 'question_sets': [0], 'arms': [],
    'steps': [{'folder': folder, 'version': 'v', 'extent': extent} for folder, extent in steps.items()],
  })  # fmt: skip
  return root


def command(*flags):
  return forked.run('-m', 'sweb_jax.budget', *flags)


def test_every_policy_is_replayed_at_every_budget(workdir, tmp_path):
  run = command('simulate', workdir, f'--out={tmp_path}', '--cost=tokens', '--budgets=24,48,192',
                '--policies=uniform,until_solved,by_difficulty,cascade:1,mixture,mine')  # fmt: skip
  assert run.returncode == 0, run.stderr
  rows = {(r['policy'], float(r['budget, tokens'])): r for r in csv.DictReader((tmp_path / 'simulated.csv').open())}
  assert {p for p, _ in rows} == {
    'wc_uniform', 'se_uniform', 'wc_until_solved', 'se_until_solved', 'wc_by_difficulty', 'se_by_difficulty',
    'cascade:1', 'mixture', 'mine',
  }  # fmt: skip
  for (_, budget), row in rows.items():
    assert float(row['spent, tokens']) == budget == 4 * int(row['samples'])
    assert float(row['solved low']) <= float(row['solved']) <= float(row['solved high'])
  # 24 tokens are one sample a problem, of which 'p0' is right; 48 are two, and 'p1' is right at the second.
  assert float(rows['wc_uniform', 24]['solved']) == pytest.approx(1 / 6, abs=1e-4)
  assert float(rows['wc_uniform', 48]['solved']) == pytest.approx(2 / 6, abs=1e-4)
  # All 48 samples: 'p0' has eight right ones with four texts, 'p5' three with two (indices 5, 6 and 7).
  assert float(rows['wc_uniform', 192]['correct']) == pytest.approx((8 + 7 + 6 + 5 + 4 + 3) / 6, abs=1e-4)
  assert float(rows['wc_uniform', 192]['unique']) == pytest.approx((4 + 4 + 3 + 3 + 2 + 2) / 6, abs=1e-4)
  # Until solved: 1 + 2 + ... + 6 samples solve all, within 192 tokens.
  assert float(rows['wc_until_solved', 192]['solved']) == 1
  assert (tmp_path / 'simulated.svg').read_text().count('<svg') == 1


def test_a_policy_that_wants_more_than_was_recorded_is_said(workdir, tmp_path):
  run = command('simulate', workdir, f'--out={tmp_path}', '--cost=tokens', '--budgets=300', '--policies=uniform')
  assert run.returncode == 0, run.stderr
  assert "ended 'record'" in run.stdout


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--policies=best'], "'best' is not a policy; kinds are .* of the config, mine"),
    (['--policies=cascade:x'], "policy 'cascade:x': 'x' is not a number"),
    (['--policies=uniform:3'], 'uniform takes no number'),
    (['--policies=mixture:1.5'], 'every share positive'),
    (['--budgets=-1'], 'a budget of -1.0 pays for nothing'),
    (['--budgets=inf'], 'never ends'),
    (['--budgets=3', '--cost=tokens'], '3 tokens is too small for a single sample'),
    (['--cost=euro'], "cost 'euro' is not known"),
    (['--cost=price'], "no price for 'wc'"),
    (['--cost=price', '--prices=wc:1'], '--prices=wc:1: give a generator and 2'),
  ],
)
def test_a_flag_that_makes_no_sense_is_named(workdir, tmp_path, flags, message):
  run = command('simulate', workdir, f'--out={tmp_path / "out"}', *flags)
  assert run.returncode == 1 and 'Traceback' not in run.stderr
  assert re.search(message, run.stderr), run.stderr
  assert not (tmp_path / 'out').exists()


def test_a_folder_without_samples_is_named(tmp_path):
  for flags in (['simulate', tmp_path, '--out=x'], ['spent', tmp_path]):
    run = command(*flags)
    assert run.returncode == 1 and 'Traceback' not in run.stderr and str(tmp_path) in run.stderr


@pytest.mark.parametrize(
  ('path', 'text', 'message'),
  [
    ('study.json', '{"shapes": ', r'study\.json: not JSON'),
    ('study.json', '{}', "'shapes'.; run the stage plan again"),
    ('study.json', '[]', 'study.json or config.json is damaged, .* run the stage plan again'),
    ('config.json', '{}', "'generators'.; run the stage plan again"),
    ('problems/set0/train/manifest.json', '{', 'set 0 has no graded samples; run the stages plan, sample and grade'),
    ('verdicts/set0/wc/manifest.json', '{', "not every problem has a graded sample of 'wc'; .* give --budgets"),
  ],
)
def test_a_damaged_workdir_is_named(workdir, tmp_path, path, text, message):
  root = tmp_path / 'damaged'
  shutil.copytree(workdir, root)
  (root / path).write_text(text)
  run = command('simulate', root, f'--out={tmp_path / "out"}', '--policies=uniform')
  assert run.returncode == 1 and 'Traceback' not in run.stderr
  assert re.search(message, run.stderr), run.stderr


def test_spent_prints_what_is_charged(workdir):
  run = command('spent', workdir)
  assert run.returncode == 0, run.stderr
  assert [line.split() for line in run.stdout.splitlines()] == [
    ['step', 'model', 'kind', 'tokens'],
    ['samples/set0/se', 'se', 'completion', '192'],
    ['samples/set0/wc', 'wc', 'completion', '192'],
    ['all', 'se', 'completion', '192'],
    ['all', 'wc', 'completion', '192'],
    ['all', '384'],
  ]
