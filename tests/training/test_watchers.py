"""Trainings side by side for TensorBoard, and as runs of Weights & Biases."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from etils import epath

from sweb_jax import layout
from sweb_jax.training import WatchError, watch, watchers

ROOT = Path(__file__).parents[2]
KEY = '0123456789abcdef' * 2 + '01234567'


def follow(root, name: str, project: str, steps=(1, 2)) -> None:
  with watch(root, name, project, {'train.batch': 8}) as told:
    for step in steps:
      for watcher in told:
        watcher.add('train', step, 1.8e9 + step, {'loss': 1 / step})
    for watcher in told:
      watcher.write()


def test_tensorboard_shows_all_trainings_of_a_workdir_side_by_side(tmp_path):
  from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

  names = [layout.training(layout.model(0, 'wc', run), rate) for run in ('wc_low', 'se_low') for rate in (0.001, 0.01)]
  for name in names:
    follow(epath.Path(tmp_path), name, '')
  shown = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / layout.CURVES)).Reload()
  assert sorted(shown.Runs()) == sorted(names)
  assert [x.value for x in shown.Scalars(names[0], 'train/loss')] == [1.0, 0.5]


needs_wandb = pytest.mark.skipif(not importlib.util.find_spec('wandb'), reason="needs the extra 'wandb'")


def records(log: Path) -> list:
  """Of a run, as far as they are whole on disk."""
  from wandb.proto import wandb_internal_pb2

  data, found = log.read_bytes()[7:], []
  # Checksum, length, kind; a record that is cut at the end of a block would be longer than these.
  while len(data) >= 7:
    length = int.from_bytes(data[4:6], 'little')
    if len(data) < 7 + length:
      break
    found.append(wandb_internal_pb2.Record.FromString(data[7 : 7 + length]))
    data = data[7 + length :]
  return found


@needs_wandb
def test_a_training_is_a_run_below_the_same_folder_and_the_key_is_nowhere(tmp_path, monkeypatch, capfd):
  monkeypatch.setenv('WANDB_MODE', 'offline')
  monkeypatch.setenv('WANDB_API_KEY', KEY)
  root, name = epath.Path(tmp_path / 'study'), 'set0/wc/wc_low/rate_0.001'
  watchers.check('mine', root)
  follow(root, name, 'mine')
  follow(root, name, 'mine')  # After a kill: the same run.
  folder = tmp_path / 'study' / layout.CURVES
  ids = {p.name.rpartition('-')[2] for p in folder.glob('wandb/offline-run-*')}
  assert len(ids) == 1 and (folder / name / layout.EVENTS).exists()
  logs = list(folder.glob('wandb/*/run-*.wandb'))
  assert logs
  for log in logs:
    until = time.monotonic() + 30  # A process of its own writes it, which may be a moment behind on a busy machine.
    while not any(r.HasField('exit') for r in records(log)) and time.monotonic() < until:
      time.sleep(0.1)
    seen = records(log)
    (run,) = (r.run for r in seen if r.HasField('run'))
    assert (run.project, run.display_name, run.run_group) == ('mine', name, 'study')
    losses = [i.value_json for r in seen for i in r.history.item if [*i.nested_key, i.key][0] == 'train/loss']
    assert losses == ['1', '0.5'] or losses == ['1.0', '0.5']
  said = ''.join(capfd.readouterr())
  assert KEY not in said and all(KEY.encode() not in p.read_bytes() for p in folder.rglob('*') if p.is_file())


@needs_wandb
def test_without_a_key_nothing_begins(tmp_path):
  """In a process of its own: one that had a key keeps it."""
  code = "from etils import epath; from sweb_jax.training import watchers; watchers.check('mine', epath.Path('.'))"
  env = {k: v for k, v in os.environ.items() if not k.startswith('WANDB_')} | {'NETRC': str(tmp_path / 'none')}
  env |= {'HOME': str(tmp_path), 'PYTHONPATH': os.pathsep.join(map(str, [ROOT, os.environ.get('PYTHONPATH', '')]))}
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=tmp_path, env=env, text=True, capture_output=True, stdin=subprocess.DEVNULL
  )
  assert "WatchError: config.train.wandb='mine': there is no key: set WANDB_API_KEY" in done.stderr


def test_a_missing_package_is_one_message_that_names_the_extra(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'wandb', None)
  watchers.check('', epath.Path(tmp_path))
  with pytest.raises(WatchError, match=r"config\.train\.wandb='mine': needs .*: pip install 'sweb_jax\[wandb\]'"):
    watchers.check('mine', epath.Path(tmp_path))
