"""A study of prompts with checkable instructions, from files to the report, without a filter by answer."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from sweb_jax import analysis, layout, records
from sweb_jax.config import ConfigError
from sweb_jax.records import Verdict
from sweb_jax.study import opened

IDS = ('keywords:existence', 'change_case:english_lowercase', 'punctuation:no_comma')


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
