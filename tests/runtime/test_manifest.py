"""The manifest of a step's folder, and who holds a workdir."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest
from etils import epath

from sweb_jax import layout
from sweb_jax.runtime import files, manifest
from sweb_jax.runtime.manifest import Manifest, WorkdirError

ROOT = pathlib.Path(__file__).parents[2]
SAID = Manifest(
  'v1', 'samples', 1, {'seed': 0}, {'wc': 'files'}, {'problems/set0/train': 'v0'}, extent={'samples': 3}, done=True,
  seconds=1.5, files={'chunk-000000.jsonl': (3, 'sum')},
)  # fmt: skip


@pytest.fixture
def root(tmp_path):
  return epath.Path(tmp_path)


def test_a_manifest_is_read_as_it_was_written(root):
  manifest.write(root, 'samples/set0/wc', SAID)
  found = manifest.read(root, 'samples/set0/wc')
  assert json.loads(json.dumps(vars(found))) == json.loads(json.dumps(vars(SAID)))
  assert manifest.read(root, 'samples/set0/se') is None


@pytest.mark.parametrize('text', ['', '{"version": "v1", "do', '{"version": "v1"}', '[]', '{"later": 1}'])
def test_a_manifest_that_is_not_whole_is_none(root, text):
  files.write_text(root / 'a' / layout.MANIFEST, text)
  assert manifest.read(root, 'a') is None


def test_a_file_in_the_place_of_a_folder_has_no_manifest(root):
  (root / 'a').write_text('text')
  assert manifest.read(root, 'a') is None


@pytest.mark.parametrize(
  ('found', 'enough'),
  [
    ({'samples': 3, 'rates': [1, 2], 'opinion': True}, True),
    ({'samples': 4, 'rates': [1, 2], 'opinion': True, 'more': 1}, True),
    ({'samples': 2, 'rates': [1, 2], 'opinion': True}, False),
    ({'samples': 3, 'rates': [1, 2, 3], 'opinion': True}, False),
    ({'samples': 3, 'rates': [1, 2], 'opinion': False}, False),
    ({'rates': [1, 2], 'opinion': True}, False),
    ({}, False),
  ],
)
def test_numbers_may_have_gone_further_and_all_else_must_be_equal(found, enough):
  assert manifest.far_enough(found, {'samples': 3, 'rates': [1, 2], 'opinion': True}) is enough


def test_what_is_not_asked_for_may_be_there(root):
  assert manifest.far_enough({'opinion': True}, {'opinion': False})
  assert manifest.far_enough({'samples': 3}, {})


def test_checksums_are_of_every_file_below_the_folder_but_the_manifest(root):
  for name, text in (('b/c', 'see'), ('a', 'é'), (layout.MANIFEST, '{}')):
    files.write_text(root / name, text)
  found = manifest.checksums(root, {})
  # By sha256sum.
  assert found == {
    'a': (2, '4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c'),
    'b/c': (3, 'aa9e9b5c907d50feb410f2a84e81ab72c5ae6724d57ccc53650f9361d33dc734'),
  }


def test_files_that_grow_are_summed_up_again_and_others_are_what_they_were(root):
  chunk, counts, gone = layout.numbered(layout.CHUNKS, 0), 'counts.json', layout.numbered(layout.CHUNKS, 1)
  for name in (chunk, counts):
    files.write_text(root / name, 'new')
  known = dict.fromkeys((chunk, counts, gone), (1, 'old'))
  found = manifest.checksums(root, known)
  # A chunk that is lost stays in the list: it is damage, which a check names.
  assert found[chunk] == found[gone] == (1, 'old')
  assert found[counts] == (3, manifest.checksum(root / counts))
  assert set(manifest.checksums(root, {'removed.json': (1, 'old')})) == {chunk, counts}


def test_a_folder_of_other_files_is_refused_and_left_alone(root):
  (root / 'thesis.tex').write_text('text')
  with pytest.raises(WorkdirError, match='not a workdir; name an empty folder'), manifest.lock(root):
    pass
  assert [p.name for p in root.iterdir()] == ['thesis.tex']


@pytest.mark.parametrize(
  'names', [[], [layout.LOCK, f'{layout.CONFIG}.tmp'], [layout.CONFIG, 'a'], [layout.STUDY, 'a']]
)
def test_a_new_folder_and_what_a_run_left_behind_when_it_was_killed_are_taken(root, names):
  for name in names:
    (root / 'work' / name).parent.mkdir(exist_ok=True)
    (root / 'work' / name).write_text('')
  with manifest.lock(root / 'work'):
    assert {p.name for p in (root / 'work').iterdir()} == {layout.LOCK, *names}


HOLD = '''
import sys
from etils import epath
from sweb_jax.runtime import manifest
with manifest.lock(epath.Path(sys.argv[1])):
  print('held', flush=True)
  sys.stdin.readline()
'''


def test_a_workdir_that_another_process_holds_is_refused_until_that_one_ends(root):
  holder = subprocess.Popen(
    [sys.executable, '-c', HOLD, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
  )
  try:
    assert holder.stdout.readline() == b'held\n'
    with pytest.raises(WorkdirError, match='another run is writing'), manifest.lock(root):
      pass
  finally:
    holder.kill()  # The lock goes with the process, however that ends.
    holder.communicate()
  with manifest.lock(root):
    pass
