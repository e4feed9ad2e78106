"""A study computed by the gemma library is the study that the native implementation gives."""

from __future__ import annotations

import csv
import json
import shutil
import types
from pathlib import Path

import jax
import pytest
from etils import epath

import sweb_jax
from sweb_jax import layout, records
from sweb_jax.config import ConfigError
from sweb_jax.models import library_decoder
from sweb_jax.models.checkpoint import CheckpointError
from sweb_jax.models.decoder import DecoderError
from sweb_jax.models.gemma4.config import Gemma4
from sweb_jax.models.source import open_model, save_model
from sweb_jax.records import Sample, Verdict
from sweb_jax.study import opened, preflight
from sweb_jax.training import LoraError

PACKAGE = Path(sweb_jax.__file__).parent


@pytest.fixture(scope='module')
def both(runs, tmp_path_factory):
  """The same study by each implementation."""
  roots = {}
  for name in ('native', 'gemma'):
    roots[name] = tmp_path_factory.mktemp(name) / 'workdir'
    runs(roots[name], runs.tiny(implementation=name))
  return roots


@pytest.mark.slow
def test_texts_verdicts_and_tables_are_the_same(both):
  for folder in (layout.samples(0, 'wc'), layout.samples(0, 'se')):
    native, gemma = (
      {(s.problem_id, s.index): s.tokens for p in (root / folder).glob(layout.CHUNKS) for s in records.read(Sample, p)}
      for root in both.values()
    )
    assert native == gemma and native
  for run in ('base', 'wc_low'):
    at = layout.scores(layout.TEST, 0, 'wc', run), f'{layout.BASE if run == "base" else "rate_0.0025"}/{layout.GREEDY}'
    native, gemma = (
      list(records.read(Verdict, *(root / '/'.join(at)).glob(layout.VERDICTS))) for root in both.values()
    )
    assert native == gemma and native
  for name in ('data', 'accuracy', 'differences'):
    native, gemma = (list(csv.reader((root / layout.TABLES / f'{name}.csv').open())) for root in both.values())
    assert native == gemma


@pytest.mark.slow
def test_the_report_says_who_computed_each_model(both):
  for name, root in both.items():
    rows = list(csv.DictReader((root / layout.TABLES / 'models.csv').open()))
    assert {row['model']: row['implementation'] for row in rows} == {'wc': name, 'se': name}
    assert f'implementation {name}' in (root / layout.INDEX).read_text()


@pytest.mark.slow
def test_the_plan_says_who_computes(runs, tmp_path):
  said = runs(tmp_path / 'workdir', runs.tiny(implementations={'se': 'gemma'}), ('plan',))
  assert 'Computed by the gemma library: se.' in said


def test_an_implementation_is_part_of_the_version_of_what_it_computes(runs):
  def versions(**changes):
    return {s.folder: s.version for s in opened.open_study(runs.tiny(**changes)).graph.steps if s.kind != 'report'}

  native, other = versions(), versions(implementations={'se': 'gemma'})
  differ = {name for name in native if native[name] != other[name]}
  assert layout.samples(0, 'se') in differ and layout.model(0, 'wc', 'se_low') in differ
  assert not any(name in differ for name in (layout.samples(0, 'wc'), layout.model(0, 'wc', 'wc_low')))


@pytest.mark.parametrize(
  ('changes', 'error', 'message'),
  [
    ({'implementation': 'torch'}, ConfigError, r"config\.implementation='torch': must be one of native, gemma"),
    ({'implementations': {'we': 'gemma'}}, ConfigError, r"config\.implementations='we': is not in config\.models"),
    ({'implementation': 'gemma', 'train__remat': 'dots'}, DecoderError, r"config\.train\.remat='dots': .*'gemma'"),
    ({'train__lora__rank': 2, 'train__lora__targets': 'norm'}, LoraError, r'lora\.targets is found in .*no projection'),
    (
      {'implementation': 'gemma', 'train__lora__rank': 2, 'train__lora__targets': 'experts'},
      LoraError,
      r"config\.train\.lora\.targets='experts' is found in no name",
    ),
  ],
)
def test_what_no_implementation_can_do_is_refused_before_any_compute(runs, changes, error, message):
  with pytest.raises(error, match=message):
    opened.open_study(runs.tiny(**changes))


@pytest.mark.slow
def test_weights_of_another_shape_are_refused_before_any_compute(runs, tmp_path):
  """By the headers of the files, whoever computes."""
  model = shutil.copytree(PACKAGE / 'models/embedded/wc', tmp_path / 'model')
  said = json.loads((model / 'config.json').read_text())
  (model / 'config.json').write_text(json.dumps(said | {'hidden': said['hidden'] + 8}))
  study = opened.open_study(runs.tiny(models__wc=str(model), implementation='gemma'))
  with pytest.raises(CheckpointError, match=r'config\.models\.wc: .* has shape .*, the architecture needs'):
    preflight.check(study, epath.Path(tmp_path / 'workdir'))


def test_what_only_the_library_computes_is_planned_without_it_and_refused_before_any_compute(
  runs, tmp_path, monkeypatch
):
  """As with Python 3.11, whose library has no Gemma 4."""
  tokenizer = open_model('embedded:se').tokenizer
  config = Gemma4(
    tokenizer.vocab_size, 64, 256, 2, 4, 2, 16, ('local', 'global'), 6, global_head_width=32, experts=4,
    chosen_experts=1, expert_hidden=64,
  )  # fmt: skip
  save_model(tmp_path / 'model', config, config.init(jax.random.key(0)), tokenizer)
  monkeypatch.setattr(library_decoder, 'nn', types.SimpleNamespace)
  changes = {'models__se': str(tmp_path / 'model')}
  with pytest.raises(DecoderError, match=r'config\.models\.se: implementation=native: Gemma4 is computed by the gemma'):
    opened.open_study(runs.tiny(**changes, implementation='native'))
  study = runs.tiny(**changes)  # Nobody asks for it: no other can.
  plan = runs(tmp_path / 'workdir', study, ('plan',))
  assert 'Computed by the gemma library: se.' in plan
  assert f'se {config.parameters:,}, {config.active_parameters:,} of them a token' in plan
  with pytest.raises(DecoderError, match=r'config\.models\.se: Gemma 4 is computed by the gemma library 4\.0\.1'):
    runs(tmp_path / 'workdir', study)
  assert not (tmp_path / 'workdir' / layout.samples(0, 'wc')).exists()
