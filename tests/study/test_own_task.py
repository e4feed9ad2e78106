"""A study of problems from a user's own file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from sweb_jax import config as config_lib
from sweb_jax import layout, records, tasks
from sweb_jax.config import ConfigError
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.study import opened

ROOT = Path(__file__).parents[2]
FILES = {
  'aime.jsonl': [{'problem': f'Find {i} + 7.', 'answer': f'{i + 7:03d}', 'year': 2024} for i in range(40)],
  'science.jsonl': [
    {'question': f'Which gas has number {i}?', 'choices': ['oxygen', 'helium'], 'answer': i % 2, 'explanation': 'So.'}
    for i in range(900)
  ],
}


@pytest.fixture
def folder(tmp_path) -> Path:
  for name, rows in FILES.items():
    (tmp_path / name).write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return tmp_path


@pytest.mark.parametrize('name', ['aime', 'choice'])
def test_the_configs_of_the_docs_are_studies(name, folder):
  text = (ROOT / 'docs/own_tasks.md').read_text()
  code = re.search(rf'<!-- run: {name} -->\n```python\n(.*?)```', text, re.DOTALL)[1]
  made: dict = {}
  exec(compile(code, 'own_tasks.md', 'exec'), made)
  config = made['get_config']()
  config.data_dir = str(folder)
  for model in config.models:  # Shapes in place of models that are not here.
    config.models[model] = {'se': 'size:gemma2_9b'}.get(model, 'size:gemma2_2b')
  if name == 'choice':
    config.transfer.aime = ConfigDict(
      {'task': 'jsonl', 'test': 30, 'files': {'test': 'aime.jsonl'}, 'fields': {'question': 'problem'}}
      | {'answer': 'number'}
    )
  config_lib.validate(config)
  study = opened.open_study(config)
  chosen = {s.split: s.choose(study.tasks[s.split]) for s in study.graph.steps if s.kind == 'problems'}
  counts = {'test': config.task.test} | (
    {'train': 500, 'validation': 50, layout.transfer('aime'): 30} if name == 'choice' else {}
  )
  assert {split: len(problems) for split, problems in chosen.items()} == counts


@pytest.mark.slow
def test_problems_of_the_made_world_from_a_file_are_graded_as_the_built_in_task_does(done, tmp_path):
  """The task's own reader is the slow reference of the form 'number'."""
  problems = list(records.read(Problem, done / layout.problems(0, 'train') / layout.PROBLEMS))
  rows = [{'id': p.id, 'question': p.text, 'answer': p.gold} for p in problems]
  (tmp_path / 'own.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
  own = tasks.Own({'test': 'own.jsonl'}, {}, 'number')
  task = tasks.get('jsonl', data_dir=str(tmp_path), template='{question} A:', own=own)
  arithmetic = tasks.get('arithmetic')
  by_id = {p.id: p for p in task.problems('test', len(problems), 0)}
  seen = 0
  for g in ('wc', 'se'):
    samples = [s for path in (done / layout.samples(0, g)).glob(layout.CHUNKS) for s in records.read(Sample, path)]
    graded = [v for path in (done / layout.verdicts(0, g)).glob(layout.VERDICTS) for v in records.read(Verdict, path)]
    verdicts = {(v.problem_id, v.index): v for v in graded}
    for s in samples:
      assert task.verdict(by_id[s.problem_id], s).correct == verdicts[s.problem_id, s.index].correct
      seen += verdicts[s.problem_id, s.index].correct
  assert seen
  for p in problems:
    assert task.prompt(by_id[p.id]) == arithmetic.prompt(p)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'task__name': 'jsonl'}, "config.task.files={}: give {'all': FILE}"),
    ({'task__files': {'all': 'x'}}, "config.task.files={'all': 'x'}: is of the task 'jsonl', and this is 'arithmetic'"),
    ({'task__answer': 'number'}, "config.task.answer='number': is of the task 'jsonl'"),
    ({'task__name': 'jsonl', 'task__files': {'all': 'x'}}, "config.task.answer='': must be one of number"),
    (
      {'transfer': {'x': {'task': 'jsonl', 'test': 3, 'files': {'test': 'x'}, 'answer': 'numbers'}}},
      "config.transfer.x.answer='numbers': must be one of number",
    ),
  ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_read(runs, change, message):
  changes = {k: ConfigDict(v) if isinstance(v, dict) else v for k, v in change.items()}
  with pytest.raises(ConfigError) as e:
    runs.tiny(**changes)
  assert message in str(e.value)


def test_a_fault_in_the_file_of_a_further_test_set_names_its_own_fields(runs, folder):
  test = {'task': 'jsonl', 'test': 3, 'files': {'test': 'aime.jsonl'}, 'answer': 'number'}
  config = runs.tiny(transfer=ConfigDict({'x': test}), data_dir=str(folder))
  with pytest.raises(ConfigError, match=r"no row has the field 'question' .*config\.transfer\.x\.fields say which"):
    opened.open_study(config)
