"""What a process does that has nothing to draw while others draw."""

from __future__ import annotations

import threading
import types

import pytest
from etils import epath

from sweb_jax import layout
from sweb_jax.runtime.hosts import DistributedError
from sweb_jax.study import opened
from sweb_jax.study.context import Context


@pytest.fixture
def process(runs, copy, monkeypatch):
  """The step of samples of a finished study in the second of two processes, which has no problem of its own.

  A function that runs it, and the weights that it reads, by model, question set and type.
  """
  weights = []
  monkeypatch.setattr(Context, 'params', lambda self, *asked: weights.append(asked))
  hosts = types.SimpleNamespace(
    count=2,
    together=1,
    leads=False,
    stop=threading.Event(),
    prefix='001-',
    ours=lambda name: False,
    mine=lambda name: False,
    meet=lambda name: None,
    barrier=lambda name: None,
  )
  study = opened.open_study(runs.tiny())
  (step,) = (s for s in study.graph.steps if s.folder == layout.samples(0, 'se'))
  return lambda: step.run(study.context(epath.Path(copy), hosts)), weights


def test_a_process_with_nothing_to_draw_reads_the_weights_with_those_that_draw(process, copy):
  """Reading them is a meeting of all processes: the others would wait for it in vain."""
  run, weights = process
  for chunk in (copy / layout.samples(0, 'se')).glob(layout.CHUNKS):
    chunk.write_text('')
  with pytest.raises(DistributedError, match='samples are missing'):  # The other process is not there to draw them.
    run()
  assert weights == [('se', 0, 'float32')]


def test_nobody_reads_weights_where_nothing_is_missing(process):
  run, weights = process
  run()
  assert weights == []
