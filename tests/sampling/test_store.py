"""The chunked sample store."""

from __future__ import annotations

import pytest

from sweb_jax.records import RecordError, Sample
from sweb_jax.sampling import Store, store


def sample(index: int, text: str = 'A: 7') -> Sample:
  return Sample('p', index, text, (5, 6, index, 1), 'stop', -1.25)


@pytest.fixture
def small_chunks(monkeypatch):
  monkeypatch.setattr(store, '_CHUNK_SAMPLES', 2)


def read(s: Store) -> list[Sample]:
  """What is in the chunks, by index."""
  return next(s.by_problem().read(['p']))


def content(folder) -> dict[str, bytes]:
  return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_what_was_added_is_read_back_in_order(tmp_path):
  samples = [sample(0), sample(1, 'two\nlines and \u2028 and "quotes" é'), sample(2, '')]
  s = Store(tmp_path)
  for x in samples:
    s.add(x)
  s.flush()
  assert read(Store(tmp_path)) == samples


def test_invariant_2_chunks_are_complete_and_never_change(tmp_path, small_chunks):
  s = Store(tmp_path)
  seen: dict[str, bytes] = {}
  for i in range(7):
    s.add(sample(i))
    assert len(read(s)) == (i + 1) // 2 * 2  # Waits for the chunk in flight.
    now = content(tmp_path)
    assert seen.items() <= now.items()  # What stood there still stands there, byte for byte.
    assert all(name.endswith('.jsonl') and data.count(b'\n') == 2 for name, data in now.items())
    seen = now
  s.flush()
  assert sorted(content(tmp_path)) == [f'chunk-{i:06d}.jsonl' for i in range(4)]
  assert seen.items() <= content(tmp_path).items()


def test_what_was_written_before_a_crash_is_read_and_a_restart_writes_new_chunks(tmp_path, small_chunks):
  crashed = Store(tmp_path)
  for i in range(5):
    crashed.add(sample(i))  # No flush: the fifth is lost.
  assert len(read(crashed)) == 4
  before = content(tmp_path)
  again = Store(tmp_path)
  assert [s.index for s in read(again)] == [0, 1, 2, 3]
  for i in (4, 5):
    again.add(sample(i))
  assert [s.index for s in read(again)] == list(range(6))
  assert before.items() <= content(tmp_path).items()


def test_a_chunk_is_written_when_enough_time_has_passed(tmp_path, monkeypatch):
  monkeypatch.setattr(store, '_CHUNK_SECONDS', -1.0)
  s = Store(tmp_path)
  s.add(sample(0))
  assert [x.index for x in read(s)] == [x.index for x in read(Store(tmp_path))] == [0]


def test_an_empty_flush_writes_nothing(tmp_path):
  Store(tmp_path).flush()
  assert not content(tmp_path)


def test_processes_that_write_into_one_folder_go_on_from_their_own_chunks(tmp_path):
  for i, prefix in enumerate(['', 'p1-', 'p1-', 'p12-']):
    s = Store(tmp_path, prefix)
    s.add(sample(i))
    s.flush()
  assert sorted(content(tmp_path)) == [
    'chunk-000000.jsonl', 'chunk-p1-000000.jsonl', 'chunk-p1-000001.jsonl', 'chunk-p12-000000.jsonl',
  ]  # fmt: skip
  assert [x.index for x in read(Store(tmp_path))] == [0, 1, 2, 3]


def test_a_copy_of_a_chunk_under_another_name_adds_nothing_and_stops_nobody(tmp_path):
  for i in range(2):
    s = Store(tmp_path)
    s.add(sample(i))
    s.flush()
    (tmp_path / 'chunk-000000 (copy).jsonl').write_bytes((tmp_path / 'chunk-000000.jsonl').read_bytes())
  assert sorted(x.index for x in read(Store(tmp_path))) == [0, 1]
  assert (tmp_path / 'chunk-000001.jsonl').exists()


@pytest.mark.parametrize('lost', [1, 20])
def test_a_torn_chunk_is_named_with_its_line(tmp_path, lost):
  s = Store(tmp_path)
  for i in range(3):
    s.add(sample(i))
  s.flush()
  chunk = tmp_path / 'chunk-000000.jsonl'
  chunk.write_bytes(chunk.read_bytes()[: -1 - lost])
  with pytest.raises(RecordError, match=r'chunk-000000\.jsonl, line 3'):
    read(Store(tmp_path))


def test_invariant_2_a_leftover_temporary_file_is_ignored(tmp_path, small_chunks):
  (tmp_path / 'chunk-000000.jsonl.tmp').write_text('{"problem_id": "p", "ind')
  (tmp_path / 'chunk-000009.jsonl.tmp').write_text('')
  s = Store(tmp_path)
  assert read(s) == []
  s.add(sample(0))
  s.add(sample(1))
  assert [x.index for x in read(s)] == [x.index for x in read(Store(tmp_path))] == [0, 1]
  assert (tmp_path / 'chunk-000000.jsonl').exists()


def test_invariant_3_the_stored_samples_are_the_ledger_of_all_tokens_drawn(tmp_path):
  s = Store(tmp_path)
  s.add(Sample('p', 0, 'A: 7', (5, 6, 1), 'stop', -1.0))
  s.add(Sample('p', 1, 'A: 7 7 7 7', (5, 6, 6, 6, 6), 'length', -9.0))
  s.flush()
  assert sum(len(x.tokens) for x in read(Store(tmp_path))) == 8


def test_a_chunk_that_cannot_be_written_is_an_error_of_the_next_call(tmp_path, small_chunks, monkeypatch):
  s = Store(tmp_path)

  def full(path, text):
    raise OSError(28, f'no space left for {path}')

  monkeypatch.setattr(store.files, 'write_text', full)
  with pytest.raises(OSError, match='no space left'):
    for i in range(2):
      s.add(sample(i))
    s.flush()
