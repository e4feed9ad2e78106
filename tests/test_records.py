"""A user's JSON lines: what is read, and what damaged and hostile files come to."""

import gzip
import json
import os
import tracemalloc

import pytest

from sweb_jax import records
from sweb_jax.records import RecordError, Sample, read_json_lines
from sweb_jax.runtime import files


@pytest.fixture
def write(tmp_path):
  """A function: a file of these bytes, as they are or packed."""

  def written(data, packed=False):
    path = tmp_path / ('rows.jsonl.gz' if packed else 'rows.jsonl')
    path.write_bytes(gzip.compress(data, 1) if packed else data)
    return path

  return written


@pytest.mark.parametrize('packed', [False, True])
@pytest.mark.parametrize(
  'data',
  [
    b'',
    b'\n \r\n\t\n',
    b'{"a": 1}',
    b'{"a": 1}\n{"b": 2}\n',
    b'\n\n  {"a": 1}\r\n\r\n{"b": "\xe2\x80\xa8 x"}  \n\n {"c": [1, {}]}',
    b'{"a": "\\ud83d\\ude00"}\n' * 3 + b'\n' * 70 + b'{"x": 1}',
  ],
)
def test_rows_are_those_of_a_reader_line_by_line(write, data, packed, monkeypatch):
  lines = enumerate(data.split(b'\n'), 1)
  expected = [(number, json.loads(line)) for number, line in lines if line.strip()]
  for chunk in (1, 7, 1 << 20):
    monkeypatch.setattr(records, '_CHUNK', chunk)
    assert list(read_json_lines(write(data, packed))) == expected


@pytest.mark.parametrize(
  ('data', 'message'),
  [
    (b'{"a": 1}\n\n{"a": \n', 'line 3: not JSON: '),
    (b'{"a": 1}\n[1]', 'line 2: expected a JSON object, found list'),
    (b'{"a": 1}\nnull', 'line 2: expected a JSON object, found NoneType'),
    (b'{"a": ' + b'[' * 90_000 + b']' * 90_000 + b'}', 'line 1: nested too deeply'),
    (b'{}\n' + b'{"a":' * 90_000, 'line 2: nested too deeply'),
    (b'{"a": "\\ud800"}', 'line 1: a text in it is not Unicode'),
    (b'{"\\udfff": 1}', 'line 1: a text in it is not Unicode'),
    (b'{"a": "\xed\xa0\x80"}', 'line 1: a text in it is not Unicode'),
    (b'{"a": "\xff"}', "line 1: not JSON: 'utf-8' codec"),
    (b'\x00\x01\x02', 'line 1: not JSON'),
    (b'{"a": ' + b'9' * 5000 + b'}', 'line 1: not JSON: Exceeds the limit'),
    (b'\x1f\x8bxx', 'cannot be read: '),
    (gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-9], 'cannot be read: '),
    (gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:20] + b'\xff' * 20, 'cannot be read: '),
    (gzip.compress(b'{}', mtime=0) + b'trailing', 'cannot be read: Not a gzipped file'),
  ],
)
def test_a_damaged_file_is_an_error_that_names_the_line(write, data, message):
  path = write(data)
  with pytest.raises(RecordError) as error:
    list(read_json_lines(path))
  assert str(error.value).startswith(f'{path}') and message in str(error.value)
  assert len(str(error.value)) < 400


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / 'fifo')
  (tmp_path / 'link').symlink_to('/dev/zero')
  (tmp_path / 'folder').mkdir()
  for name in ('fifo', 'link', 'folder'):
    with pytest.raises(RecordError, match=f'{name}: not a regular file; write what it gives into one'):
      list(read_json_lines(tmp_path / name))
  with pytest.raises(RecordError, match='missing: cannot be read: '):
    list(read_json_lines(tmp_path / 'missing'))


@pytest.mark.parametrize('line', [b'\n', b' \n', b'{"a": 1}\n'])
def test_a_file_that_unpacks_to_too_much_is_refused_and_read_once_it_is_unpacked(write, line, monkeypatch):
  monkeypatch.setattr(records, 'MAX_UNPACKED', 1 << 20)
  data = line * ((2 << 20) // len(line))
  with pytest.raises(RecordError, match='unpacks to more than 1 MB; if that is right, gunzip it first'):
    list(read_json_lines(write(data, packed=True)))
  assert sum(1 for _ in read_json_lines(write(data))) == (data.count(b'\n') if b'a' in line else 0)


@pytest.mark.parametrize(
  ('data', 'end'), [(b'\n', ''), (b' ', 'longer than 2 MB'), (b'x', 'not JSON'), (b'{"a": ', 'longer than 2 MB')]
)
def test_little_is_held_of_a_file_that_unpacks_to_much(write, data, end, monkeypatch):
  monkeypatch.setattr(records, 'MAX_LINE', 2 << 20)
  path = write(data * ((64 << 20) // len(data)) if data != b'x' else b'x' * (1 << 20) + b'\n', packed=True)
  tracemalloc.start()
  try:
    with pytest.raises(RecordError, match=end) if end else pytest.MonkeyPatch.context():
      list(read_json_lines(path))
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
  finally:
    tracemalloc.stop()


# The ids of samples.


@pytest.mark.parametrize('tokens', [(), (1,), (5, 600_000, 1), tuple(range(300))])
@pytest.mark.parametrize('text', ['', ' 1+1', '", "tokens": [7], "', '\\", "tokens": [7]', 'x]\n\u2028'])
def test_ids_out_of_a_file_are_the_tuple_that_was_written(tokens, text):
  sample = Sample('a "b", "tokens": [9]', 3, text, tokens, 'stop', -1.25)
  line = records.to_json(sample).encode()
  found = records.from_json(Sample, line)
  assert found == sample == records.from_json(Sample, line.decode()) and hash(found) == hash(sample)
  assert type(found.tokens) is records.Ids
  assert (len(found.tokens), tuple(found.tokens), found.tokens[1:]) == (len(tokens), tokens, tokens[1:])
  assert not tokens or (found.tokens[-1], found.tokens[0]) == (tokens[-1], tokens[0])
  assert records.to_json(found).encode() == line


def test_ids_are_parsed_by_nobody_who_asks_for_their_number_or_the_last(monkeypatch):
  line = records.to_json(Sample('p', 0, 'x', (4, 5, 1), 'stop', 0.0)).encode()
  monkeypatch.setattr(records.Ids, '_all', None)
  found = records.from_json(Sample, line)
  assert (len(found.tokens), found.tokens[-1], found.text) == (3, 1, 'x')


@pytest.mark.parametrize('on_store', [False, True])
def test_many_files_are_read_as_one_by_one(tmp_path, monkeypatch, on_store):
  monkeypatch.setattr(files, 'on_object_store', lambda path: on_store)
  paths = [tmp_path / f'{i}.jsonl' for i in range(40)]
  for i, path in enumerate(paths):
    path.write_text(records.dumps(Sample('p', i, str(n), (n,), 'stop', 0.0) for n in range(i % 3)))
  assert list(records.read(Sample, *paths)) == [s for p in paths for s in records.read(Sample, p)]
  assert list(records.read(Sample)) == []


def test_lengths_are_those_of_the_samples_and_a_damaged_line_is_named(tmp_path):
  text = '", "tokens": [1, 2], "\\\n'
  samples = [Sample(f'p "{i}", "index": 7, ', i, text, tuple(range(i * 3)), 'stop', 0.0) for i in range(4)]
  path = tmp_path / 'chunk.jsonl'
  path.write_text(records.dumps(samples))
  assert list(records.lengths(path)) == [(s.problem_id, s.index, len(s.tokens)) for s in samples]
  path.write_bytes(path.read_bytes()[:-9])
  with pytest.raises(RecordError, match=r'chunk\.jsonl, line 4: not a Sample'):
    list(records.lengths(path))


TWICE = (
  ('"index": 3', '"index": 3, "index": 0'), ('"text"', '"problem_id": "q", "text"'), ('}', ', "index": 0}'),
  ('"finish"', '"index": 0, "finish"'), (', "finish"', ', "tokens": [], "finish"'), ('}', ',"tokens": [7]}'),
  ('"tokens"', '"tokens": [7], "tokens"'), ('}', ',"tokens":[]}'), ('"text"', '"tokens": [7, 8, 9], "text"'),
)  # fmt: skip


@pytest.mark.parametrize(('old', 'new'), TWICE)
def test_of_a_name_that_stands_twice_every_reader_takes_the_last(tmp_path, old, new):
  line = records.to_json(Sample('p', 3, 'a "b" \\', (5, 6), 'stop', -1.0)).replace(old, new)
  path = tmp_path / 'chunk.jsonl'
  path.write_text(line + '\n')
  said = json.loads(line)
  (found,) = records.read(Sample, path)
  assert (found.problem_id, found.index, list(found.tokens)) == (said['problem_id'], said['index'], said['tokens'])
  assert list(records.lengths(path)) == [(said['problem_id'], said['index'], len(said['tokens']))]
