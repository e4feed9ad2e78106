"""What the bodies of jobs ask of a task: second opinions, votes, and where a completion stops."""

from __future__ import annotations

import importlib.util
import json
import types
from pathlib import Path

import jax
import pytest
from sweb_jax.jobs import Jobs

from sweb_jax import drawing, records
from sweb_jax import jobs as jobs_lib
from sweb_jax.config import ConfigError, resolve
from sweb_jax.records import Sample, Verdict
from sweb_jax.sampling import Store

SILENT = types.SimpleNamespace(skip=lambda *_, **__: None, add=lambda *_, **__: None)
"""A meter that shows nothing."""


@pytest.fixture
def make(tmp_path):
  """Jobs of a study of sums in the form of GSM8K, with the embedded models."""
  data = tmp_path / 'data'
  data.mkdir()
  for name, rows in (('train', range(1300)), ('test', range(5000, 5010))):
    text = (json.dumps({'question': f'What is {i}+1?', 'answer': f'{i}+1={i + 1}\n#### {i + 1}'}) for i in rows)
    (data / f'{name}.jsonl').write_text('\n'.join(text))

  def make(**fields) -> Jobs:
    path = Path(__file__).parents[1] / 'configs/quickstart.py'
    spec = importlib.util.spec_from_file_location('quickstart', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = resolve(module.get_config(), ())
    config.data_dir = str(data)
    config.task.update({'name': 'gsm8k', 'levels': (), 'train': 3, 'validation': 2, 'test': 3})
    config.update_from_flattened_dict(fields)
    return Jobs(config, tmp_path / 'work')

  return make


def test_tokens_are_drawn_with_weights_of_the_asked_type_and_trained_in_float32(make, monkeypatch):
  seen = []

  def run(self, params, requests, *, key):
    seen.append({x.dtype.name for x in jax.tree.leaves(params)})
    return iter(())

  monkeypatch.setattr(drawing.Engine, 'run', run)
  jobs = make(**{'sampling.dtype': 'bfloat16'})
  trained = jobs.drawing.params('wc', 0)
  assert list(jobs.draw_round('wc', 0, {}, [], 8)) == jobs.greedy('wc', 0, [], trained) == []
  assert seen == [{'bfloat16'}] * 2
  assert {x.dtype.name for x in jax.tree.leaves(trained)} == {'float32'}


def graded(jobs: Jobs) -> list[Verdict]:
  """The verdicts on two samples of every training problem: right in the asked form, right in another."""
  root = jobs.workdir
  jobs.write_problems(root / 'problems/set0', 0)
  store = Store(root / 'samples/set0/wc')
  for p in jobs.problems(0, 'train'):
    for i, text in enumerate((f' That is\n#### {p.gold}', f' The answer is {p.gold}')):
      store.add(Sample(p.id, i, text, (1, 2), 'stop', -1.0))
  store.flush()
  jobs.write_grades(root / 'grades/set0/wc', 0, 'wc', [])
  return list(records.read(Verdict, root / 'grades/set0/wc.jsonl'))


def test_verdicts_of_a_study_hold_both_readings_and_the_second_opinion(make):
  found = graded(make())
  assert len(found) == 6
  for v in found:
    assert (v.correct, v.answer is None) == ((True, False) if v.index == 0 else (False, True))
    assert (v.lenient_correct, v.second_opinion, v.second_reason) == (True, True, 'agrees')


def test_second_opinions_can_be_left_out(make, monkeypatch):
  monkeypatch.setattr(jobs_lib.grading, 'Pool', None)
  found = graded(make(**{'grading.second_opinion': False}))
  assert {(v.second_opinion, v.second_reason) for v in found} == {(None, '')}


@pytest.mark.parametrize(
  ('few_shot', 'tuned', 'stop_strings'),
  [
    (True, False, ('\n\n', 'Question:')),
    (False, False, ('\nQuestion:',)),
    (False, True, ()),
  ],
)
def test_the_task_says_where_a_model_stops_that_was_not_fine_tuned(make, monkeypatch, few_shot, tuned, stop_strings):
  jobs = make()
  seen = []

  def completions(*_, stop_strings, **__):
    seen.append(stop_strings)
    return []

  monkeypatch.setattr(jobs.drawing, 'completions', completions)
  params = {'any': 0} if tuned else None
  jobs._draw(jobs.workdir / 'x', 'wc', params, [], 1, 0, SILENT, few_shot=few_shot)
  assert seen == [stop_strings]


def test_programs_have_no_majority_vote(make, monkeypatch):
  monkeypatch.setattr(jobs_lib.tasks, 'get', lambda *_, **__: types.SimpleNamespace(same=None))
  with pytest.raises(ConfigError, match=r'config\.evaluate\.maj_k=\(4,\): answers of mbpp are programs'):
    make(**{'task.name': 'mbpp', 'evaluate.maj_k': (4,)})
