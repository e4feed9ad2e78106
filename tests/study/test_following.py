"""A study of prompts with checkable instructions, from files to the report, without a filter by answer."""

from __future__ import annotations

import csv
import io
import json
import re
import runpy
from pathlib import Path

import pytest
from etils import epath
from rich.console import Console

from sweb_jax import analysis, layout, records
from sweb_jax.config import ConfigError, resolve, validate
from sweb_jax.records import Verdict
from sweb_jax.study import command, opened

ROOT = Path(__file__).parents[2]
IDS = ('keywords:existence', 'change_case:english_lowercase', 'punctuation:no_comma')
SIZES = {'wc': 'gemma2_9b', 'se': 'gemma2_27b'}


@pytest.fixture
def folder(tmp_path) -> Path:
  def row(i: int, *ids: str) -> dict:
    kwargs = [{'keywords': ['tom']} if name == IDS[0] else {} for name in ids]
    prompt = f'tom has {i} apples . sobes 4 . how many ?'
    return {'key': i, 'prompt': prompt, 'instruction_id_list': ids, 'kwargs': kwargs}

  files = {
    'train': [row(i, *IDS[: i % 2]) for i in range(12)],
    'validation': [row(i, IDS[0], IDS[2]) for i in range(12, 18)],
    'test': [row(i, *IDS[: 1 + i % 3]) for i in range(18, 27)],
  }
  for name, rows in files.items():
    (tmp_path / f'{name}.jsonl').write_text(''.join(json.dumps(r) + '\n' for r in rows))
  return tmp_path


def config(runs, folder: Path, **changes):
  named = {f'task__{split}': n for split, n in (('train', 12), ('validation', 6), ('test', 9))}
  files = {split: f'{split}.jsonl' for split in ('train', 'validation', 'test')}
  own = {'task__name': 'jsonl', 'task__answer': 'instructions', 'task__files': files, 'task__template': '{question} A:'}
  return runs.tiny(data_dir=str(folder), train__too_long='leave_out', **named, **own, **changes)


@pytest.mark.slow
def test_responses_are_kept_without_a_filter_and_instructions_are_counted(runs, folder):
  pytest.importorskip('lm_eval', reason='needs the extra ifeval')
  root = folder / 'workdir'
  said = runs(root, config(runs, folder, data__filter='none'))
  kept = [line for line in (root / layout.examples(0, 'wc_low') / layout.EXAMPLES).open()]
  whole = [s for p in root.glob(f'{layout.samples(0, "wc")}/{layout.CHUNKS}') for s in records.read(records.Sample, p)]
  assert len(kept) == sum(s.finish != 'length' for s in whole) > 20  # Whatever they follow, or are asked to.
  rows = {r['source']: r for r in csv.DictReader((root / layout.TABLES / 'following.csv').open())}
  assert rows.keys() == {'base', 'wc_low', 'se_low'} and 'accuracy' in said.lower()
  # By hand, from the verdicts: of test problem i as many instructions as 1 + i % 3.
  for source, r in rows.items():
    scores = root / layout.scores(layout.TEST, 0, 'wc', source)
    verdicts = [v for p in scores.glob(f'*/{layout.GREEDY}/{layout.VERDICTS}') for v in records.read(Verdict, p)]
    asked = {v.problem_id: 1 + int(v.problem_id) % 3 for v in verdicts}
    assert (int(r['n']), int(r['instructions'])) == (len(asked), sum(asked.values())) == (9, 18)
    done = {v.problem_id: (v.answer or '').count('+') for v in verdicts}
    assert float(r['instruction, strict']) == pytest.approx(sum(done.values()) / 18, abs=1e-4)
    assert float(r['prompt, strict']) == pytest.approx(sum(done[p] == asked[p] for p in done) / 9, abs=1e-4)
  greedy = {r['source']: r['greedy pass@1'] for r in csv.DictReader((root / layout.TABLES / 'accuracy.csv').open())}
  assert greedy == {source: r['prompt, strict'] for source, r in rows.items()}
  assert {t.name for t in analysis.read_tables(root)} >= {'following', 'graders'}


def test_votes_are_refused_as_responses_are_not_compared(runs, folder):
  pytest.importorskip('lm_eval', reason='needs the extra ifeval')
  with pytest.raises(ConfigError, match=r'maj_k=\(2,\): answers of instructions are not compared with each other'):
    opened.open_study(config(runs, folder, evaluate__maj_k=(2,)))


def prompts(name: str, count: int, *ids: str) -> list[dict]:
  return [
    {'key': f'{name} {i}', 'prompt': f'Tell {name} {i}.', 'instruction_id_list': ids, 'kwargs': [{}] * len(ids)}
    | ({'solution': 'The sun is warm.'} if i < 4 else {})
    for i in range(count)
  ]


@pytest.mark.parametrize('source', ['paper', 'docs'])
def test_the_configs_are_planned_on_files_of_the_published_form(source, tmp_path):
  pytest.importorskip('lm_eval', reason='needs the extra ifeval')
  if source == 'paper':
    made = runpy.run_path(str(ROOT / 'configs/paper/ifeval.py'))
  else:
    code = re.search(r'<!-- run: ifeval -->\n```python\n(.*?)```', (ROOT / 'docs/own_tasks.md').read_text(), re.S)[1]
    exec(compile(code, 'own_tasks.md', 'exec'), made := {})
  config = resolve(made['get_config'](), ())
  config.data_dir = str(tmp_path)
  for model in config.models:  # Shapes in place of models that are not here.
    config.models[model] = f'size:{SIZES.get(model, "gemma_7b")}'
  validate(config)
  shots = config.task.shots
  for name, rows in {
    'train': prompts('train', config.task.train + shots),  # The worked examples are in no split.
    'validation': prompts('validation', config.task.validation, IDS[2]),
    'input_data': prompts('test', config.task.test, *IDS[1:]),
  }.items():
    (tmp_path / f'{name}.jsonl').write_text(''.join(json.dumps(r) + '\n' for r in rows))
  said = io.StringIO()
  study = opened.open_study(config)
  command.plan(study, epath.Path(tmp_path / 'workdir'), Console(file=said, width=200))
  assert 'se_low (1 a problem)' in said.getvalue() and not (tmp_path / 'workdir').exists()
  assert 'problems, prompts and solutions' not in said.getvalue()
  if shots:
    assert study.tasks['train'].few_shot().count('The sun is warm.') == shots
