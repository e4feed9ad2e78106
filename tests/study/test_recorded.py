"""Samples that were drawn elsewhere as a generator: the same study as if they had been drawn here."""

from __future__ import annotations

import gzip
import io
import json
import re
import runpy
from pathlib import Path

import pytest
from etils import epath
from rich.console import Console

from sweb_jax import analysis, layout
from sweb_jax.budget import BudgetError
from sweb_jax.config import ConfigError, resolve, validate
from sweb_jax.records import RecordError
from sweb_jax.runtime.manifest import WorkdirError
from sweb_jax.study import opened, preflight
from tests import forked

ROOT = Path(__file__).parents[2]
POLICY = {'until': {'kind': 'until_solved', 'generators': ('wc',)}}
PRICES = {'wc': (0.1, 1.0), 'se': (0.3, 3.0)}


def models(wc: Path | str) -> dict[str, str]:
  return {'wc': f'samples:{wc}', 'se': 'embedded:se', 'student': 'embedded:student'}


@pytest.fixture(scope='module')
def settings():
  return {'learners': ('student',), 'policies': POLICY, 'task__train': 12, 'cost__prices': PRICES}


@pytest.fixture(scope='module')
def drawn(runs, settings, tmp_path_factory) -> Path:
  root = tmp_path_factory.mktemp('drawn') / 'workdir'
  runs(root, runs.tiny(**settings))
  return root


@pytest.fixture
def rows(drawn) -> list[dict]:
  """What WC drew for every problem, as an API would have been kept: a text and its length."""
  found = [json.loads(r) for p in sorted(drawn.glob('samples/set0/wc/chunk-*.jsonl')) for r in p.open()]
  return [{'problem_id': r['problem_id'], 'index': r['index'], 'response': r['text'], 'num_tokens': len(r['tokens']),
           'prompt_tokens': 20, 'finish_reason': r['finish']} for r in found]  # fmt: skip


@pytest.fixture
def file(tmp_path):
  def write(rows) -> Path:
    path = tmp_path / 'api.jsonl'
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return path

  return write


def test_recorded_samples_end_in_the_tables_of_those_that_were_drawn(runs, settings, drawn, tmp_path):
  preset = dict(runpy.run_path(str(ROOT / 'configs/embedded/recorded.py'))['get_config']().presets['taken'])
  assert preset['models.wc'].endswith(f'/samples/set0/wc/{layout.CHUNKS}')
  of = f'{drawn}/[sa]*/set0/**/wc/{layout.CHUNKS}'  # What every problem has, and what the policy drew beyond it.
  recorded = {'wc': preset['recorded.wc']}
  said = runs(tmp_path / 'taken', runs.tiny(models=models(of), recorded=recorded, **settings))
  assert runs.tables(tmp_path / 'taken') == runs.tables(drawn)
  assert 'wc, recorded: ' in said and 'The first rows, as they were understood' in said
  one, other = ({str(p.relative_to(root)) for p in root.rglob('*')} for root in (drawn, tmp_path / 'taken'))
  assert {n for n in one if n.endswith(layout.MANIFEST)} == {n for n in other if n.endswith(layout.MANIFEST)}


@pytest.mark.slow
def test_the_config_of_recorded_samples_ends_in_the_tables_of_drawn_ones(runs, tmp_path):
  """At the grid's preset 'ci', through a file that the command of export writes."""

  def config(*fields):
    made = runpy.run_path(str(ROOT / 'configs/embedded/recorded.py'))['get_config']()
    grid = runpy.run_path(str(ROOT / 'configs/embedded/grid.py'))['get_config']()
    own = (('learners', made.learners), ('train.seeds', made.train.seeds))
    made.presets, made.preset = {'small': (*grid.presets['ci'], *own, *fields)}, 'small'
    made = resolve(made, ())
    validate(made)
    return made

  runs(tmp_path / 'drawn', config())
  flags = ('--arm=wc_low', '--all_samples', '--format=parquet', f'--to={tmp_path / "api"}')
  done = forked.run('-m', 'sweb_jax.export', tmp_path / 'drawn', *flags)
  assert done.returncode == 0, done.stderr
  taken = dict(runpy.run_path(str(ROOT / 'configs/embedded/recorded.py'))['get_config']().presets['taken'])
  taken['models.wc'] = f'samples:{tmp_path / "api/train.parquet"}'
  said = runs(tmp_path / 'taken', config(*taken.items()))
  assert '120 samples in 120 rows of 1 file' in said
  one, other = (
    {n: json.loads(table) for n, table in runs.tables(tmp_path / name).items() if n.endswith('.json')}
    for name in ('drawn', 'taken')
  )
  # What ended a sample is told by the ids of its tokens, of which an export has only the number.
  at = one['data.json']['columns'].index('stopped')
  assert one['data.json']['rows'][0][at] == 1 and other['data.json']['rows'][0][at] is None
  for found in (one, other):
    del found['data.json']['rows'][0][at : at + 3]
    compared = found['data_differences.json']
    compared['rows'] = [row for row in compared['rows'] if 'stopped' not in row]
    del compared['note']  # It has their number.
  assert len(one) > 10 and one == other


def test_the_config_of_the_docs_reads_files_beside_it(runs, rows, tmp_path, monkeypatch):
  code = re.search(r'<!-- run: mine.py -->\n```python\n(.*?)```', (ROOT / 'docs/own_data.md').read_text(), re.S)[1]
  assert len(code.splitlines()) == 15
  (tmp_path / 'mine.py').write_text(code)
  config = runpy.run_path(str(tmp_path / 'mine.py'))['get_config']()
  validate(config)
  monkeypatch.chdir(tmp_path)
  packed = ''.join(json.dumps(row) + '\n' for row in rows).encode()
  Path('flash.jsonl').write_bytes(packed)
  Path('pro.jsonl.gz').write_bytes(gzip.compress(packed))
  study, said = opened.open_study(config), io.StringIO()
  with pytest.raises(BudgetError, match=r'flash_low needs 35 samples a problem, and 300 of 300 problems lack'):
    preflight.check(study, epath.Path('runs'), Console(file=said, width=400))
  assert f'{len(rows)} samples in {len(rows)} rows of 1 file;' in said.getvalue()


def test_two_models_behind_an_api_are_planned_before_their_files_are_there():
  config = runpy.run_path(str(ROOT / 'configs/paper/price_matched.py'))['get_config']()
  config.preset = 'recorded'
  config = resolve(config, ())
  validate(config)
  study = opened.open_study(config, without_data=True)
  assert {a.name: a.samples for a in study.graph.arms.all} == {'flash_low': 35, 'pro_low': 1}
  assert 'config.models.flash: flash.jsonl: no such file' in study.unchecked


def test_a_model_of_unknown_size_is_compared_by_price(runs, settings, rows, file, tmp_path):
  config = runs.tiny(models=models(file(rows)), cost__name='price', **settings | {'policies': {}})
  runs(tmp_path / 'workdir', config, ('plan', 'sample', 'grade', 'report'))
  study = analysis.read_study(tmp_path / 'workdir')
  assert study.parameters['wc'] == 0 and set(study.definitions()) == {'price', 'tokens'}
  charged = json.loads((tmp_path / 'workdir/report/tables/arms.json').read_text())
  assert 'spent, dollars' in charged['columns']
  sizes = json.loads((tmp_path / 'workdir/report/tables/models.json').read_text())['rows']
  assert {row[0]: row[1] for row in sizes}['wc'] is None


def test_an_unknown_size_cannot_be_charged_by_flops(runs, settings, rows, file):
  with pytest.raises(BudgetError, match=r"'wc' is not known, so 'paper'.*config\.recorded\.wc\.parameters"):
    opened.open_study(runs.tiny(models=models(file(rows)), **settings))


def planned(runs, root: Path, *stages: str, **changes) -> str:
  return runs(root, runs.tiny(cost__name='price', cost__prices=PRICES, learners=('student',), **changes), stages)


def test_samples_that_are_lacking_are_counted_before_anything_is_done(runs, rows, file, tmp_path):
  least = [r for r in rows if r['index'] < 2 or r['problem_id'] != rows[0]['problem_id']]
  wish = r'wc_low needs 3 .*, and 1 of 12 problems lack 1 in all, as .*allow_fewer=True'
  with pytest.raises(BudgetError, match=wish):
    planned(runs, tmp_path / 'workdir', 'plan', models=models(file(least)))
  assert not (tmp_path / 'workdir').exists()


def test_an_arm_may_hold_fewer_and_says_so(runs, rows, file, tmp_path):
  least = [r for r in rows if r['index'] < 2 or r['problem_id'] != rows[0]['problem_id']]
  changes = {'models': models(file(least)), 'recorded': {'wc': {'allow_fewer': True}}}
  planned(runs, tmp_path / 'workdir', 'plan', 'sample', 'grade', **changes)
  results = analysis.read(tmp_path / 'workdir')
  assert results.held[0, 'wc_low'].samples == {'wc': 35}
  assert any(line.startswith('wc_low: holds 35 of 36 samples, as no more were recorded') for line in results.nothing)


def test_bad_rows_are_told_of_and_the_run_goes_on(runs, rows, file, tmp_path):
  rows += [{'problem_id': 'nobody', 'response': 'x', 'num_tokens': 3}, rows[0]]
  said = planned(runs, tmp_path / 'workdir', 'plan', 'sample', models=models(path := file(rows)))
  told = f"1 not used (of no problem): {path}, line {len(rows) - 1}: id 'nobody' is of no problem asked"
  assert told in ' '.join(said.split())
  assert '1 not used (one index twice)' in said
  assert len(list((tmp_path / 'workdir').glob(f'samples/set0/wc/{layout.CHUNKS}'))) == 1


def test_recorded_samples_depend_on_their_files_and_on_no_field_of_drawing(runs, rows, file, tmp_path):
  changes = {'models': models(file(rows))}
  planned(runs, tmp_path / 'workdir', 'plan', 'sample', **changes)
  with pytest.raises(WorkdirError, match=r': 1 steps .*\n.*temperature.* \(samples/set0/se\)'):
    planned(runs, tmp_path / 'workdir', 'plan', 'sample', sampling__temperature=0.2, **changes)
  file([{**r, 'response': 'other'} for r in rows])
  with pytest.raises(WorkdirError, match='the files of wc'):
    planned(runs, tmp_path / 'workdir', 'plan', 'sample', **changes)


@pytest.mark.parametrize(
  ('changes', 'error', 'words'),
  [
    ({'learners': ('wc',)}, ConfigError, r"config\.learners=\('wc',\): wc is recorded samples"),
    ({'judge__model': 'wc'}, ConfigError, r"config\.judge\.model='wc': wc is recorded samples"),
    ({'recorded': {'se': {}}}, ConfigError, r'config\.recorded\.se=.*config\.models\.se=.* is no samples:'),
    ({'recorded': {'wc': {'tokeniser': 'x'}}}, ConfigError, r'config\.recorded\.wc=.*its fields are fields, tokenizer'),
    ({'recorded': {'wc': {'parameters': -1}}}, ConfigError, r'config\.recorded\.wc\.parameters=-1: must not be neg'),
    ({'recorded': {'wc': {'tokenizer': '/no'}}}, ConfigError, r"config\.recorded\.wc\.tokenizer: '/no': no such"),
    ({'recorded': {'wc': {'fields': {'a': 'x'}}}}, ConfigError, r"config\.recorded\.wc\.fields\.a='x': .*completion"),
    ({'models': models('/no/such.jsonl')}, RecordError, r'/no/such\.jsonl: no such file'),
  ],
)
def test_what_makes_no_sense_is_refused_by_its_field(runs, rows, file, changes, error, words):
  fields = {'models': models(file(rows)), 'learners': ('student',), 'cost__name': 'price', 'cost__prices': PRICES}
  with pytest.raises(error, match=words):
    opened.open_study(runs.tiny(**fields | changes))


def test_prompts_of_unknown_length_cannot_be_charged(runs, rows, file, tmp_path):
  for r in rows:
    del r['prompt_tokens']
  with pytest.raises(BudgetError, match=r'12 of 12 problems have.*config\.recorded\.wc\.fields\.prompt_tokens'):
    planned(runs, tmp_path / 'workdir', 'plan', models=models(file(rows)))
