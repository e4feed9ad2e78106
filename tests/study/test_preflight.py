"""What would stop a study later is said before anything is drawn, and a plan needs neither data nor weights."""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import runpy
import shutil
from pathlib import Path

import pytest
from etils import epath
from rich.console import Console

from sweb_jax import config as config_lib
from sweb_jax import layout
from sweb_jax.config import ConfigError
from sweb_jax.models.tokenizer import Tokenizer
from sweb_jax.study import command, opened, preflight
from sweb_jax.tasks import TaskError
from sweb_jax.training import DataError

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get('SWEB_TEST_DATA', ROOT.parent / 'shared/data'))
PAPER = sorted(p.name for p in (ROOT / 'configs/paper').glob('*.py'))
with_data = pytest.mark.skipif(not (DATA / 'math').exists(), reason='the public data sets are not here')


def paper(name: str, **changes):
  config = runpy.run_path(str(ROOT / 'configs/paper' / name))['get_config']()
  config = config_lib.resolve(config, ())
  for field, value in changes.items():
    section, _, last = field.replace('__', '.').rpartition('.')
    target = config
    for part in filter(None, section.split('.')):
      target = target[part]
    with target.unlocked():
      target[last] = value
  config_lib.validate(config)
  return config


def planned(config, root: Path, **kwargs) -> str:
  said = io.StringIO()
  study = opened.open_study(config, **kwargs)
  command.plan(study, epath.Path(root), Console(file=said, width=200))
  return said.getvalue()


@pytest.mark.parametrize('name', PAPER)
def test_a_paper_config_plans_without_data_and_weights_and_says_what_it_did_not_look_at(name, tmp_path):
  said = planned(paper(name), tmp_path / 'workdir', without_data=True)
  assert 'Plan of' in said and 'all' in said
  assert 'Not checked: config.models.' in said and 'Not checked: problems, prompts and solutions' in said
  assert not (tmp_path / 'workdir').exists()


@with_data
@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in PAPER if name != 'ifeval.py'])  # Its prompts are the user's.
def test_a_paper_config_plans_on_its_real_data(name, tmp_path):
  said = planned(paper(name, data_dir=str(DATA)), tmp_path / 'workdir')
  assert 'Plan of' in said and 'problems, prompts and solutions' not in said


@with_data
@pytest.mark.slow
def test_long_solutions_of_the_real_data_are_counted_or_refused_as_the_config_says(tmp_path):
  packed = (DATA / 'tokenizers/gemma2_rebuilt.model.gz').read_bytes()
  tokenizer = Tokenizer.from_bytes(gzip.decompress(packed))

  def study(**changes):
    made = opened.open_study(paper('math.py', data_dir=str(DATA), **changes))
    with_tokenizer = {
      name: tuple(dataclasses.replace(m, tokenizer=tokenizer, stored=dict) for m in variants)
      for name, variants in made.variants.items()
    }
    return dataclasses.replace(made, variants=with_tokenizer)

  notes = preflight.check(study(), epath.Path(tmp_path))
  assert any('11 of 6994 solutions by people do not fit a row' in note for note in notes)
  with pytest.raises(DataError, match=r"train/geometry/580.*2974 tokens.*11 of 6994.*too_long='leave_out'"):
    preflight.check(study(train__too_long='refuse'), epath.Path(tmp_path))


def test_data_that_are_not_there_stop_a_run(tmp_path):
  with pytest.raises(TaskError, match=r'config\.data_dir'):
    opened.open_study(paper('gsm8k.py'))


@with_data
def test_a_further_test_set_is_looked_for_in_the_data_of_the_study(runs):
  config = runs.tiny(data_dir=str(DATA), transfer={'svamp': {'task': 'svamp', 'test': 3}})
  study = opened.open_study(config)
  assert len(study.tasks[layout.transfer('svamp')].problems('test', 3, 0)) == 3


def test_a_further_test_set_without_its_data_is_named_by_its_own_field(runs):
  wish = r'config\.transfer\.svamp: svamp needs its files: .*config\.transfer\.svamp\.data_dir'
  with pytest.raises(ConfigError, match=wish):
    opened.open_study(runs.tiny(transfer={'svamp': {'task': 'svamp', 'test': 3}}))


def test_long_prompts_and_solutions_are_told_of(runs, tmp_path):
  def notes_of(rule):
    config = runs.tiny(train__row_length=40, train__too_long=rule)
    return preflight.check(opened.open_study(config), epath.Path(tmp_path))

  assert any('row_length=40' in note and 'will stop the training' in note for note in notes_of('refuse'))
  assert not notes_of('leave_out')  # As the config asks for.
  notes = preflight.check(opened.open_study(runs.tiny(sampling__max_new_tokens=16)), epath.Path(tmp_path))
  assert any('more than config.sampling.max_new_tokens=16' in note for note in notes)


def test_lengths_are_looked_at_only_while_something_is_to_be_drawn_or_trained(runs, done, tmp_path, monkeypatch):
  encoded, encode_all = [], Tokenizer.encode_all
  monkeypatch.setattr(Tokenizer, 'encode_all', lambda self, texts: encoded.extend(texts) or encode_all(self, texts))
  preflight.check(opened.open_study(runs.tiny()), epath.Path(done))
  assert not encoded
  more = opened.open_study(runs.tiny(train__learning_rates=(1e-3, 5e-3)))
  preflight.check(more, epath.Path(done))
  assert not encoded  # The workdir has them.
  shutil.copytree(done, tmp_path / 'without')
  (tmp_path / 'without' / layout.LENGTHS).unlink()
  preflight.check(more, epath.Path(tmp_path / 'without'))
  assert encoded
  encoded.clear()
  preflight.check(opened.open_study(runs.tiny()), epath.Path(tmp_path / 'new'))
  assert len(encoded) == len(set(encoded))  # Each prompt and each solution once.
