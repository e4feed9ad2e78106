"""The benchmark's command: what it writes, and what it refuses."""

from __future__ import annotations

import json
import pathlib
import subprocess

import pytest

from tests import forked

ROOT = pathlib.Path(__file__).parents[1]
WORK = dict(prompts=[[2, 9, 8, 7], [2, 9, 8, 6, 5]], n=3, max_new=9, temperature=1.0, top_k=8, stop_ids=[1])

pytestmark = pytest.mark.slow


def run(folder: pathlib.Path, **changes) -> subprocess.CompletedProcess:
  (folder / 'work.json').write_text(json.dumps(WORK | changes))
  return forked.run(
    ROOT / 'benchmarks/sampling.py', f'--model={ROOT}/sweb_jax/models/embedded/wc',
    f'--workload={folder}/work.json', f'--out={folder}/out.json', '--rounds=2',
  )  # fmt: skip


def test_the_sampling_benchmark_counts_the_tokens_of_each_row_up_to_its_end(tmp_path):
  done = run(tmp_path, lengths=[9, 1, 5, 4, 8, 2])
  assert done.returncode == 0, done.stderr
  out = json.loads((tmp_path / 'out.json').read_text())
  assert out['useful_tokens'] == 9 + 1 + 5 + 4 + 8 + 2
  assert 0 < out['seconds'] < out['first_sample_seconds'] and out['compile_seconds'] > 0 and out['peak_rss_mb'] > 50


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'n': 0}, 'n=0 samples of 2 prompts are nothing to draw'),
    ({'prompts': [[2, 9], []]}, "problem 'p1', sample 0: the prompt is empty"),
    ({'prompts': [[2, 9, 8, 5000]]}, 'ids outside the vocabulary of 193'),
    ({'lengths': [3]}, '1 lengths for 6 rows'),
  ],
)
def test_a_workload_that_makes_no_sense_is_one_message(tmp_path, changes, message):
  done = run(tmp_path, **changes)
  assert done.returncode == 1
  assert message in done.stderr and 'Traceback' not in done.stderr
  assert not (tmp_path / 'out.json').exists()


def judge(labels: pathlib.Path, rows: list[dict]) -> subprocess.CompletedProcess:
  labels.write_text(''.join(json.dumps(r) + '\n' for r in rows))
  model = f'--model={ROOT}/sweb_jax/models/embedded/wc'
  script, sizes = ROOT / 'benchmarks/judge.py', ('--rows=4', '--max_new_tokens=4')
  return forked.run(script, f'--labels={labels}', model, *sizes)


def test_the_judge_benchmark_counts_silence_and_names_a_row_without_a_label(tmp_path):
  rows = [{'question': f'{i}?', 'solution': f'{i}', 'gold': '1', 'label': i % 2 == 0} for i in range(6)]
  done = judge(tmp_path / 'labels.jsonl', rows)
  assert done.returncode == 0, done.stderr
  assert '4 solutions (2 right, 2 wrong, 0 of them with a right answer)' in done.stdout
  assert '| has an opinion | 0.000 | [0.000, 0.490] | 4 |' in done.stdout
  done = judge(tmp_path / 'labels.jsonl', [*rows, {'question': 'a', 'solution': 'b', 'gold': 'c'}])
  assert done.returncode == 1 and "labels.jsonl, line 7: 'question'" in done.stderr and 'Traceback' not in done.stderr
