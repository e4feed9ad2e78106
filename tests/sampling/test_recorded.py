"""Files of samples: matched, numbered, counted, and read without being held."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from benchmarks.readers import READERS
from sweb_jax.records import RecordError
from sweb_jax.sampling.recorded import Asked, open_recording

ASKED = (Asked('a', ('How many  apples?',)), Asked('b', ('How many pears?', 'Q: How many pears? A:')))


def row(problem: str, text: str, tokens: int = 3, **more) -> dict:
  return {'id': problem, 'response': text, 'num_tokens': tokens, **more}


def write(path: Path, rows) -> str:
  path.write_text(''.join(r if isinstance(r, str) else json.dumps(r) + '\n' for r in rows))
  return str(path)


def opened(source, encode=None, **own):
  return open_recording(str(source), own, encode)


def texts(recording, count=9, problems=ASKED) -> list[tuple[str, int, str]]:
  wanted = {(p.id, i) for p in problems for i in range(count)}
  return [(s.problem_id, s.index, s.text) for s in recording.samples(problems, wanted)]


def test_rows_are_matched_by_id_or_by_text_white_space_aside(tmp_path):
  rows = [
    row('a', 'one'),
    {'problem': ' How many apples?\n', 'response': 'two', 'num_tokens': 1},
    {'id': 77, 'prompt': 'Q: How many pears?   A:', 'response': 'three', 'num_tokens': 1},
  ]
  assert texts(opened(write(tmp_path / 'f', rows))) == [('a', 0, 'one'), ('a', 1, 'two'), ('b', 0, 'three')]


def test_samples_are_numbered_by_their_index_whatever_the_order_of_rows_and_the_gaps(tmp_path):
  rows = [row('a', 'late', sample_index=9), row('b', 'only', sample_index=4), row('a', 'first', sample_index=1)]
  recording = opened(write(tmp_path / 'f', rows))
  assert sorted(texts(recording)) == [('a', 0, 'first'), ('a', 1, 'late'), ('b', 0, 'only')]
  assert texts(recording, count=1) == [('b', 0, 'only'), ('a', 0, 'first')]


def test_problems_of_one_text_take_its_rows_in_turn(tmp_path):
  same = (Asked('a', ('q',)), Asked('b', ('q',)))
  rows = [{'problem': 'q', 'response': str(i), 'num_tokens': 1} for i in range(4)]
  found = texts(opened(write(tmp_path / 'f', rows)), problems=same)
  assert found == [('a', 0, '0'), ('b', 0, '1'), ('a', 1, '2'), ('b', 1, '3')]


def test_plain_gzipped_and_parquet_files_of_a_pattern_are_read_by_name(tmp_path):
  write(tmp_path / 's1.jsonl', [row('a', 'plain')])
  (tmp_path / 's2.jsonl.gz').write_bytes(gzip.compress(json.dumps(row('a', 'packed')).encode()))
  parquet.write_table(pyarrow.Table.from_pylist([row('a', 'columns'), row('b', 'too')]), tmp_path / 's3.parquet')
  found = texts(opened(tmp_path / 's*'))
  assert found == [('a', 0, 'plain'), ('a', 1, 'packed'), ('a', 2, 'columns'), ('b', 0, 'too')]


def test_bad_rows_are_counted_and_named_and_the_others_are_read(tmp_path):
  path = tmp_path / 'f.jsonl'
  lines = [
    json.dumps(row('a', 'good')).encode(),
    b'{"id": "a", "resp',
    json.dumps(row('a', 'caf\u00e9'), ensure_ascii=False).encode('latin-1'),
    json.dumps(row('nobody', 'lost')).encode(),
    json.dumps(row('a', 'twice', index=0)).encode(),
    json.dumps(row('a', 'x', tokens=-2)).encode(),
    json.dumps({'id': 'a', 'response': 'uncounted'}).encode(),
    b'[1, 2]',
    json.dumps(row('b', '', finish_reason='length')).encode(),
  ]
  path.write_bytes(b'\n'.join(lines))
  recording = opened(path)
  survey = recording.survey(ASKED)
  assert (survey.rows, survey.samples, survey.empty, survey.cut) == (9, 2, 1, 1)
  assert survey.faults == {
    'not readable': 3, 'of no problem': 1, 'one index twice': 1, 'counts that do not fit': 1, 'no number of tokens': 1
  }  # fmt: skip
  (nobody,), (twice,) = survey.named['of no problem'], survey.named['one index twice']
  assert nobody == f"{path}, line 4: id 'nobody' is of no problem asked"
  assert twice == f"{path}, line 5: problem 'a' has a sample 0 already"
  assert [m.partition(': ')[0] for m in survey.named['not readable']] == [f'{path}, line {n}' for n in (2, 3, 8)]
  assert "'utf-8' codec can't decode" in survey.named['not readable'][1]
  assert texts(recording) == [('a', 0, 'good'), ('b', 0, '')]


def test_a_tokenizer_counts_where_rows_do_not(tmp_path):
  path = write(tmp_path / 'f', [{'id': 'a', 'response': 'abc'}, row('b', 'xyz', tokens=7)])
  recording = opened(path, lambda text, finish: range(len(text)))
  found = {s.problem_id: len(s.tokens) for s in recording.samples(ASKED, {('a', 0), ('b', 0)})}
  assert found == {'a': 3, 'b': 7}


def test_what_is_lacking_is_known_by_problem(tmp_path):
  survey = opened(write(tmp_path / 'f', [row('a', str(i)) for i in range(3)])).survey(ASKED)
  assert survey.lacking(['a', 'b'], 2) == {'b': 0} and survey.lacking(['a', 'b'], 4) == {'a': 3, 'b': 0}
  assert survey.a_problem(['a', 'b']) == (0, 1.5, 3)


def test_other_bytes_are_another_recording_and_another_name_is_not(tmp_path):
  first, moved = (opened(write(tmp_path / n, [row('a', 'x')])).identity for n in ('f', 'g'))
  assert first == moved != opened(write(tmp_path / 'g', [row('a', 'y')])).identity


@pytest.mark.parametrize(
  ('name', 'data', 'words'),
  [
    ('none.jsonl', None, 'no such file'),
    ('none*.jsonl', None, 'no such file'),
    ('f.jsonl', b'', 'none of 0 rows is of use'),
    ('f.jsonl', b'{"id": "x", "response": "y"}', "none of 1 rows is of use: .*line 1: id 'x' is of no problem"),
    ('f.jsonl.gz', gzip.compress(json.dumps(row('a', 'x')).encode(), mtime=0)[:-9], 'cannot be read: .*'),
    ('f.parquet', b'PAR1 and nothing more', 'not a Parquet file that can be read'),
    ('no_text.parquet', READERS['recorded-parquet'].good().replace(b'tokens', b'token\x98'), 'not a Parquet file'),
  ],
)
def test_files_that_give_nothing_are_an_error_that_names_them(tmp_path, name, data, words):
  if data is not None:
    (tmp_path / name).write_bytes(data)
  with pytest.raises(RecordError, match=words) as e:
    opened(tmp_path / name).survey(ASKED)
  assert name in str(e.value)


MANY = """
import resource, sys
from sweb_jax.sampling.recorded import Asked, open_recording
asked = [Asked(str(i), (str(i),)) for i in range(100)]
recording = open_recording(sys.argv[1], {}, None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
survey = recording.survey(asked)
found = sum(1 for _ in recording.samples(asked, {(a.id, i) for a in asked for i in range(100)}))
print(survey.samples, found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_memory_stays_flat_however_many_rows_there_are(tmp_path):
  path = tmp_path / 'many.jsonl.gz'
  with gzip.open(path, 'wt', compresslevel=1) as file:
    for i in range(100_000):
      file.write(json.dumps(row(str(i % 100), 'so many words ' * 40, 120, index=i // 100)) + '\n')
  done = subprocess.run([sys.executable, '-c', MANY, str(path)], capture_output=True, text=True, check=True)
  samples, found, kilobytes = map(int, done.stdout.split())
  assert (samples, found) == (100_000, 10_000)
  assert kilobytes < 16 << 10  # The rows have 60 MB.
