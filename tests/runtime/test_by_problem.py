"""Rows problem by problem, out of files in which they stand in any order."""

from __future__ import annotations

import collections
import random
import tracemalloc

import pytest
from etils import epath

from sweb_jax import records
from sweb_jax.records import RecordError, Sample, Verdict
from sweb_jax.runtime import by_problem, files
from sweb_jax.runtime.by_problem import ByProblem

IDS = ('a', 'b "quoted"', 'c\\', '\u2028 é', 'train/algebra/7', '", "index": 3, "', 'none of this')


def written(folder, rows: list, files: int) -> list[epath.Path]:
  paths = [epath.Path(folder) / f'chunk-{i:06d}.jsonl' for i in range(files)]
  for i, path in enumerate(paths):
    path.write_text(records.dumps(rows[i::files]))
  return paths


def sample(problem: str, index: int, text: str) -> Sample:
  return Sample(problem, index, text, (5, 600_000, index, 1), 'stop', -1.5)


@pytest.mark.parametrize('at_once', [1, 7, 10_000])
def test_rows_are_those_of_a_reader_that_holds_all(tmp_path, monkeypatch, at_once):
  monkeypatch.setattr(by_problem, '_ROWS', at_once)
  rng = random.Random(0)
  places = [(p, i) for p in IDS[:-1] for i in range(12)] * 2  # Each twice, with another text.
  rng.shuffle(places)
  rows = [sample(p, i, f'{n}: "tokens": [1], \n\u2028{p}') for n, (p, i) in enumerate(places)]
  paths = written(tmp_path, rows, 5)
  slow = [s for path in paths for s in records.read(Sample, path)]
  for latest in (False, True):
    wanted: dict = collections.defaultdict(dict)
    for s in slow if latest else reversed(slow):
      wanted[s.problem_id][s.index] = s
    found = ByProblem(Sample, paths, latest=latest)
    assert [found.indices(p) for p in IDS] == [sorted(wanted[p]) for p in IDS]
    order = rng.sample(IDS, len(IDS))
    assert list(found.read(order)) == [[wanted[p][i] for i in sorted(wanted[p])] for p in order]
    some = ByProblem(Sample, paths, latest=latest, of=IDS[1:3])
    assert [some.indices(p) for p in IDS] == [sorted(wanted[p]) if p in IDS[1:3] else [] for p in IDS]
    assert list(some.read(IDS[1:3])) == list(found.read(IDS[1:3]))


def test_verdicts_and_keys_in_another_order_are_read_too(tmp_path):
  path = epath.Path(tmp_path) / 'verdicts-000000.jsonl'
  path.write_text('{"index": 4, "problem_id": "p", "answer": null, "correct": false, "reason": "no"}\n')
  assert list(ByProblem(Verdict, [path]).read(['p'])) == [[Verdict('p', 4, None, False, 'no')]]


def test_a_row_that_names_another_problem_further_on_is_refused(tmp_path):
  path = epath.Path(tmp_path) / 'chunk-000000.jsonl'
  path.write_text(records.to_json(sample('p', 3, 'x')).replace('"finish"', '"problem_id": "q", "finish"') + '\n')
  with pytest.raises(RecordError, match=r"chunk-000000\.jsonl: the row of sample 3 of 'p' says 'q' and 3 further on"):
    list(ByProblem(Sample, [path]).read(['p']))


@pytest.mark.parametrize('kept', [slice(-9), slice(9), slice(0), slice(9, None)])
def test_a_damaged_line_is_named_before_anything_is_read(tmp_path, kept):
  rows = [sample('p', i, 'x') for i in range(3)]
  (path,) = written(tmp_path, rows, 1)
  first, second, third = path.read_bytes().splitlines()
  path.write_bytes(b'\n'.join((first, second[kept], third)) + b'\n')
  with pytest.raises(RecordError, match=r'chunk-000000\.jsonl, line 2: not a Sample'):
    ByProblem(Sample, [path])


def test_what_is_held_does_not_grow_with_the_length_of_the_rows(tmp_path, monkeypatch):
  monkeypatch.setattr(by_problem, '_ROWS', 8)
  monkeypatch.setattr(files, '_AT_ONCE', 2)  # However slow this thread is, no more than four files wait for it.

  def held(characters: int) -> int:
    rows = [sample(f'{n % 50}', n // 50, 'x' * characters) for n in range(2000)]
    folder = tmp_path / str(characters)
    folder.mkdir()
    paths = written(folder, rows, 100)
    del rows
    tracemalloc.start()
    try:
      found = ByProblem(Sample, paths)
      assert sum(map(len, found.read(map(str, range(50))))) == 2000
      return tracemalloc.get_traced_memory()[1]
    finally:
      tracemalloc.stop()

  short, long = held(100), held(4000)
  assert long - short < 2000 * 3900 / 3  # A batch, and the files that are read ahead; not all texts.
