from __future__ import annotations

import errno
import io
import json
import pathlib
import subprocess
import time

import pytest
from etils import epath

from sweb_jax.runtime import files
from sweb_jax.runtime.files import FullDiskError


def names(folder) -> list[str]:
  return sorted(p.name for p in folder.iterdir())


def test_a_file_is_written_with_its_folder_and_nothing_is_left_over(tmp_path):
  files.write_json(tmp_path / 'a' / 'b.json', {'x': [1, 'é']})
  files.write_text(tmp_path / 'a' / 'c.txt', 'é\n')
  assert json.loads((tmp_path / 'a' / 'b.json').read_text()) == {'x': [1, 'é']}
  assert (tmp_path / 'a' / 'c.txt').read_bytes() == 'é\n'.encode()
  assert names(tmp_path / 'a') == ['b.json', 'c.txt']


def test_invariant_2_a_name_never_stands_for_half_a_file(tmp_path, monkeypatch):
  """While bytes are written they stand under a temporary name."""
  files.write_text(tmp_path / 'a.txt', 'old')
  replaced = []

  def replace(self, target):
    replaced.append((self.name, self.read_text(), (tmp_path / 'a.txt').read_text()))
    return pathlib.Path(self).rename(target)

  monkeypatch.setattr(type(epath.Path(tmp_path)), 'replace', replace)
  files.write_text(tmp_path / 'a.txt', 'new')
  assert replaced == [('a.txt.tmp', 'new', 'old')]
  assert (tmp_path / 'a.txt').read_text() == 'new' and names(tmp_path) == ['a.txt']


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EDQUOT])
def test_no_space_is_an_error_of_its_own_and_leaves_no_partial_file(tmp_path, monkeypatch, code):
  files.write_text(tmp_path / 'old.txt', 'old')

  class Full(io.FileIO):
    def write(self, data):
      super().write(data[: len(data) // 2])
      raise OSError(code, 'no space')

  opened = type(epath.Path(tmp_path))
  monkeypatch.setattr(opened, 'open', lambda self, mode: Full(pathlib.Path(self), mode))
  for name in ('old.txt', 'new.txt'):
    with pytest.raises(FullDiskError, match=rf'no space left for .*{name}; .*run the same command again'):
      files.write_text(tmp_path / name, 'new text')
  monkeypatch.undo()
  assert names(tmp_path) == ['old.txt'] and (tmp_path / 'old.txt').read_text() == 'old'


def test_other_errors_are_not_called_a_full_disk(tmp_path):
  (tmp_path / 'folder').mkdir()
  with pytest.raises(IsADirectoryError):
    files.write_text(tmp_path / 'folder', 'text')


@pytest.fixture
def small_disk(tmp_path):
  """A file system of 64 KiB."""
  disk = tmp_path / 'disk'
  disk.mkdir()
  try:
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', disk], capture_output=True, check=False)
  except OSError:
    mounted = None
  if mounted is None or mounted.returncode:
    pytest.skip('a small file system cannot be mounted here')
  yield disk
  subprocess.run(['umount', disk], check=True)


def test_a_full_disk_keeps_what_was_finished(small_disk):
  files.write_bytes(small_disk / 'first', b'1' * 30_000)
  with pytest.raises(FullDiskError, match='second'):
    files.write_bytes(small_disk / 'second', b'2' * 60_000)
  assert names(small_disk) == ['first'] and (small_disk / 'first').stat().st_size == 30_000
  files.write_bytes(small_disk / 'second', b'2' * 20_000)  # There is room again: nothing partial takes it.


def test_the_name_of_an_object_is_absolute(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  assert files.absolute('gs://bucket/a/b') == epath.Path('gs://bucket/a/b')
  assert files.absolute('a') == epath.Path(tmp_path / 'a')


def test_work_side_by_side_gives_its_results_in_order_and_reads_no_further_than_a_few_ahead():
  taken = []

  def items():
    for i in range(500):
      taken.append(i)
      yield i

  def work(i):
    time.sleep(0.002 * (i % 3))
    return i * i

  found = files.side_by_side(work, items())
  assert [next(found) for _ in range(10)] == [i * i for i in range(10)]
  assert len(taken) < 60
  assert list(found) == [i * i for i in range(10, 500)]


def test_an_error_of_work_side_by_side_is_raised_in_its_turn():
  def work(i):
    if i == 3:
      raise OSError('the third')
    return i

  found = files.side_by_side(work, range(100))
  assert [next(found) for _ in range(3)] == [0, 1, 2]
  with pytest.raises(OSError, match='the third'):
    next(found)
