"""The study as a whole: stages, fields that change no result, and the invariants that hold across its files."""

from __future__ import annotations

import collections
import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest
from etils import epath

from sweb_jax import layout
from sweb_jax.config import default
from sweb_jax.study import opened

SAMPLES = f'samples/set0/{{}}/{layout.CHUNKS}'
COMPLETIONS = f'scores/test/set0/wc/*/*/*/{layout.CHUNKS}'


def table(workdir: Path, name: str) -> list[dict[str, str]]:
  return list(csv.DictReader(io.StringIO((workdir / layout.TABLES / f'{name}.csv').read_text())))


ENGINE = '--config.engine.slots=48', '--config.engine.steps=5', '--config.engine.jobs=1'


@pytest.fixture(scope='module')
def by_stages(command, tmp_path_factory):
  """The study run a stage or two at a time and with other fields of the engine, with a report before there is any
  model; its test problems are not there while it trains."""
  workdir = tmp_path_factory.mktemp('stages') / 'workdir'
  test = workdir / layout.problems(0, 'test') / layout.PROBLEMS
  for stage in ('plan', 'sample,grade,report', 'train', 'evaluate,report'):
    if stage == 'train':
      test.rename(workdir.parent / 'test.jsonl')
    run = command(workdir, f'--stages={stage}', *ENGINE)
    assert run.returncode == 0, run.stderr
    if stage == 'sample,grade,report':
      assert 'Not finished: 5 of 5 steps of the stage train are not done' in run.stdout
      assert table(workdir, 'data_differences') and not table(workdir, 'accuracy')
      assert not json.loads((workdir / layout.REPORT / layout.MANIFEST).read_text())['done']
    if stage == 'train':
      assert not test.exists()
      (workdir.parent / 'test.jsonl').rename(test)
  return workdir


@pytest.mark.slow
def test_a_config_of_before_has_the_defaults_of_fields_that_there_were_not(finished, tmp_path):
  before = json.loads((finished.workdir / layout.CONFIG).read_text())
  del before['train']['tensor'], before['engine']
  (tmp_path / layout.CONFIG).write_text(json.dumps(before))
  found, now = (opened.read_config(epath.Path(root)) for root in (tmp_path, finished.workdir))
  assert found.engine == default().engine and found.train == now.train and found.task == now.task


@pytest.mark.slow
def test_stages_one_after_another_give_the_same_tables(by_stages, finished, report_tables):
  assert report_tables(by_stages) == report_tables(finished.workdir)


@pytest.mark.slow
def test_invariant_6_training_chooses_without_the_test_problems(by_stages, finished):
  """`by_stages` trained while there were no test problems."""
  selections = sorted(by_stages.glob(f'models/*/*/*/{layout.SELECTION}'))
  assert len(selections) == 5
  for path in selections:
    assert path.read_bytes() == (finished.workdir / path.relative_to(by_stages)).read_bytes()
    chosen = json.loads(path.read_text())
    best = max(chosen['validation'], key=lambda v: v['accuracy'])
    assert (chosen['learning_rate'], chosen['step']) == (best['learning_rate'], best['step'])
    assert {v['n'] for v in chosen['validation']} == {24}


@pytest.mark.slow
def test_engine_fields_change_how_fast_and_nothing_else(command, by_stages, finished, report_tables, rows):
  assert report_tables(by_stages) == report_tables(finished.workdir)
  # And a workdir made with some may be continued with others.
  assert 'Steps in the workdir: 23 reused.' in command(by_stages).stdout
  for pattern in (SAMPLES.format('*'), COMPLETIONS):
    here, there = (
      sorted((s['problem_id'], s['index'], s['tokens'], s['finish']) for s in rows(folder, pattern))
      for folder in (by_stages, finished.workdir)
    )
    assert here == there


def test_invariant_3_every_token_drawn_stands_in_the_report(finished, rows):
  spent = {(r['kind'], r['model']): r for r in table(finished.workdir, 'spent')}
  parameters = json.loads((finished.workdir / layout.STUDY).read_text())['parameters']
  counted = {('sample', g): rows(finished.workdir, SAMPLES.format(g)) for g in ('wc', 'se')}
  counted['evaluate', 'wc'] = rows(finished.workdir, COMPLETIONS)
  for key, samples in counted.items():
    tokens = sum(len(s['tokens']) for s in samples)
    row = spent[key]
    assert (int(row['samples']), int(row['tokens'])) == (len(samples), tokens)
    assert int(row['FLOPs']) == 2 * parameters[key[1]] * tokens
  # Wrong and cut ones too.
  correct = sum(v['correct'] for v in rows(finished.workdir, f'{layout.verdicts(0, "wc")}/{layout.VERDICTS}'))
  assert 0 < correct < len(counted['sample', 'wc']) == 40 * 30
  assert len(counted['evaluate', 'wc']) == 6 * 40 * (1 + 2)


def test_invariant_3_each_arm_is_charged_for_its_own_samples(finished, rows):
  for arm in table(finished.workdir, 'data'):
    samples = rows(finished.workdir, SAMPLES.format(arm['generator']))
    tokens = sum(len(s['tokens']) for s in samples if s['index'] < int(arm['k']))
    assert int(arm['tokens']) == tokens


def test_invariant_4_sampling_training_and_evaluation_see_the_same_prompt_ids(finished, monkeypatch, tmp_path):
  from sweb_jax.runtime.hosts import Hosts
  from sweb_jax.study import collect, fine_tuning

  class Asked(Exception):
    pass

  asked, rendered = [], []

  def run(self, params, requests, **_):
    asked.append({r.problem_id: (*self._prefix, *r.prompt) for r in requests})
    raise Asked

  monkeypatch.setattr(collect.Engine, 'run', run)
  def pack(rows, **_):
    rendered.extend((tuple(ids.tolist()), n) for ids, n in rows)

  monkeypatch.setattr(fine_tuning, 'Packer', pack)
  monkeypatch.setattr(fine_tuning, 'fit', lambda params, _, runs, **__: runs[0].score(params))
  study = opened.open_study(opened.read_config(epath.Path(finished.workdir)))
  context = study.context(epath.Path(tmp_path), Hosts())
  steps = {step.folder: step for step in study.graph.steps}
  problems, examples = steps[layout.problems(0, 'train')], steps[layout.examples(0, 'gold')]
  for step in (problems, examples):
    step.run(context)
  # The learner is asked about the problems it is trained on.
  model = dataclasses.replace(steps[layout.model(0, 'wc', 'gold')], validation=problems)
  base = dataclasses.replace(steps[layout.scores(layout.TEST, 0, 'wc', layout.BASE)], problems=problems)
  for step in (steps[layout.samples(0, 'wc')], model, base):
    with pytest.raises(Asked):
      step.run(context)

  problems = context.problems(problems.folder, problems.count)
  tokenizer = context.model('wc').tokenizer
  assert len(asked) == 3 and len(rendered) == len(problems) == 40
  for problem, (ids, length) in zip(problems, rendered, strict=True):
    assert [ids[:length]] * 3 == [prompts[problem.id] for prompts in asked]
    assert ids.count(tokenizer.bos_id) == 1 and ids[0] == tokenizer.bos_id
    assert ids.count(tokenizer.eos_id) == 1 and ids[-1] == tokenizer.eos_id
    assert length < len(ids)


def test_invariant_6_every_rate_has_an_interval_and_an_n(finished):
  rates = {
    'data': [
      *('coverage@k', 'diversity@k (solved)', 'diversity@k (all)', 'diversity@k (equations)', 'kept a problem', 'FPR'),
      *('truncated', 'stopped'),
    ],
    'accuracy': ['greedy pass@1', 'maj@2', 'pass@2', 'truncated'],
    'differences': ['difference'],
    'minus_base': ['difference'],
    'data_differences': ['difference'],
    'pass_k': ['pass@k'],
    'one_sided': ['share only A', 'share only B'],
  }
  counts = {'data': ('problems', '40'), 'data_differences': ('holds for', 'this question set only')}
  # Names of columns that hold no figure, or one whose interval stands beside its difference.
  plain = {'k', 'sets', 'problems', 'tokens', 'FLOPs', 'kept', 'judged', 'n', 'examples', 'step, by set'}
  plain |= {'learning rate, by set', 'value A', 'value B', 'relative', 'p', 'evaluations', 'drawn'}
  plain |= {'only A', 'only B', 'both', 'neither'}
  for name, figures in rates.items():
    rows = table(finished.workdir, name)
    assert rows
    for row in rows:
      column, value = counts.get(name, ('n', '40'))
      assert row[column] == value
      for figure in figures:
        assert float(row[f'{figure} low']) <= float(row[figure]) <= float(row[f'{figure} high'])
      for column, value in row.items():
        number = value.replace('.', '').replace('-', '').replace('e', '').isdigit()
        assert not number or column in plain or column.removesuffix(' low').removesuffix(' high') in {
          *figures,
          'within sets',
        }, f'{name}: {column} has no interval'


def test_the_low_budget_is_a_prefix_of_the_high_one(finished, rows):
  arms = json.loads((finished.workdir / layout.STUDY).read_text())['arms']
  samples = {a['name']: a['samples'] for a in arms}
  assert samples == {'wc_high': 30, 'se_high': 10, 'wc_low': 3, 'se_low': 1, 'gold': None}
  problems = [p['id'] for p in rows(finished.workdir, f'{layout.problems(0, "train")}/{layout.PROBLEMS}')]
  for generator in ('wc', 'se'):
    drawn = {(s['problem_id'], s['index']): s['text'] for s in rows(finished.workdir, SAMPLES.format(generator))}
    verdicts = rows(finished.workdir, f'{layout.verdicts(0, generator)}/{layout.VERDICTS}')
    right = {(v['problem_id'], v['index']) for v in verdicts if v['correct']}
    texts = {}
    for budget in ('low', 'high'):
      arm = f'{generator}_{budget}'
      texts[budget] = collections.defaultdict(list)
      for e in rows(finished.workdir, f'{layout.examples(0, arm)}/{layout.EXAMPLES}'):
        texts[budget][e['problem_id']].append(e['solution'])
      for p in problems:
        # Four a problem are kept: config.data.max_per_problem.
        wanted = [drawn[p, i] for i in range(samples[arm]) if (p, i) in right][:4]
        assert texts[budget][p] == wanted
    for p in problems:
      assert texts['high'][p][: len(texts['low'][p])] == texts['low'][p]
    assert 0 < sum(map(len, texts['low'].values())) < sum(map(len, texts['high'].values()))
