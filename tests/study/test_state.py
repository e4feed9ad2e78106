"""How a step stands to its folder, and what happens to what another version left there."""

from __future__ import annotations

import dataclasses
import time

import pytest
from etils import epath

from sweb_jax import layout
from sweb_jax.runtime import files, manifest
from sweb_jax.runtime.manifest import WorkdirError
from sweb_jax.study import reuse, state
from sweb_jax.study.estimate import Assumed
from sweb_jax.study.state import State
from sweb_jax.study.step import Step, digest

ASSUMED = Assumed({}, 1, 1, 0, 1.0, 1.0)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Made(Step):
  """A step that only has a place."""

  kind = 'samples'
  stage = 'sample'
  name: str = 'a'
  of: tuple[Step, ...] = ()

  @property
  def folder(self):
    return f'samples/set0/{self.name}'

  @property
  def inputs(self):
    return self.of

  def run(self, context):
    raise AssertionError('it is never run here')


@pytest.fixture
def root(tmp_path):
  return epath.Path(tmp_path)


def begin(root, step, part='part'):
  manifest.write(root, step.folder, state.of(step))
  files.write_text(root / step.folder / part, '1')


def finish(root, step, seconds=0.0):
  begin(root, step)
  state.finish(root, step, time.time() - seconds)


def test_a_finished_step_is_done_for_its_version_alone(root):
  step, other = (Made(settings={'seed': seed}) for seed in (0, 1))
  assert state.state(root, step) is State.NEW
  begin(root, step)
  assert state.state(root, step) is State.BEGUN
  state.finish(root, step, time.time() - 2)
  assert state.state(root, step) is State.DONE and state.state(root, other) is State.CHANGED
  assert 2 <= manifest.read(root, step.folder).seconds < 60
  assert set(manifest.read(root, step.folder).files) == {'part'}


def test_what_a_step_reads_and_how_far_it_goes(root):
  first = Made(settings={'seed': 0})
  step = Made(settings={}, name='b', of=(first,), extent={'samples': 3})
  finish(root, step)
  changed = Made(settings={}, name='b', of=(Made(settings={'seed': 1}),), extent={'samples': 3})
  assert state.state(root, changed) is State.CHANGED
  for samples, found in ((2, State.DONE), (3, State.DONE), (4, State.SHORT)):
    assert state.state(root, dataclasses.replace(step, extent={'samples': samples})) is found


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    (None, r'samples/set0/a holds files and no manifest\.json: .* move them away'),
    ('{"version": "x", "do', r'samples/set0/a/manifest\.json is damaged; .* --repair` makes it again'),
  ],
)
def test_files_without_a_whole_manifest_are_never_touched(root, text, message):
  step = Made(settings={})
  files.write_text(root / step.folder / 'mine', 'text')
  if text:
    files.write_text(root / step.folder / layout.MANIFEST, text)
  found = reuse.states(root, [step])
  assert found == {step.folder: State.FOREIGN}
  for redo in (False, True):
    with pytest.raises(WorkdirError, match=message):
      reuse.refuse(root, [step], found, ASSUMED, redo)
  assert (root / step.folder / 'mine').read_text() == 'text'


def test_what_changed_is_refused_field_by_field_and_moved_aside_when_asked_for(root, tmp_path, listing):
  old, kept = Made(settings={'seed': 0, 'sampling.dtype': 'float32', 'same': 1}), Made(settings={}, name='kept')
  follower = Made(settings={}, name='b', of=(old,))
  for step in (old, follower, kept):
    finish(root, step)
  new = Made(settings={'seed': 1, 'sampling.dtype': 'float32', 'same': 1, 'added': 'x'})
  steps = [new, Made(settings={}, name='b', of=(new,)), kept]
  before, found = listing(tmp_path), reuse.states(root, steps)
  with pytest.raises(WorkdirError) as e:
    reuse.refuse(root, steps, found, ASSUMED, redo=False)
  message = str(e.value)
  assert str(root) in message and '2 steps were made for another config' in message
  assert 'config.seed: 0 there, 1 here (samples/set0/a)' in message
  assert "config.added: not known there, 'x' here" in message
  assert '1 more only read what is changed' in message and '--redo' in message
  assert 'dtype' not in message and 'same' not in message and 'kept' not in message
  assert listing(tmp_path) == before
  reuse.refuse(root, steps, found, ASSUMED, redo=True)
  reuse.supersede(root, steps, found)
  assert list(reuse.states(root, steps).values()) == [State.NEW, State.NEW, State.DONE]
  assert (root / layout.SUPERSEDED / old.folder / old.version / 'part').read_text() == '1'


def test_the_same_version_may_be_superseded_twice(root):
  step = Made(settings={})
  for name in (step.version, f'{step.version}-1', f'{step.version}-2'):
    finish(root, step)
    assert state.supersede(root, step.folder) == root / layout.SUPERSEDED / step.folder / name
    assert state.state(root, step) is State.NEW


def test_a_version_follows_the_values_and_not_the_order_of_keys():
  assert digest({'a': 1, 'b': [2]}) == digest({'b': [2], 'a': 1})
  assert len({digest(v) for v in ({'a': 1}, {'a': 2}, {'b': 1}, [1], '1')}) == 5
  assert len(Made(settings={}).version) == 16
  assert Made(settings={'a': 1, 'b': (2,)}).version == Made(settings={'b': [2], 'a': 1}).version
  assert Made(settings={}).version != Made(settings={}, identities={'wc': 'files'}).version
