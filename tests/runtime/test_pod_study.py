"""The embedded study by several processes on a disk: samples, verdicts and tables of one process in a bucket."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from sweb_jax import layout
from tests.forked import Forked

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Pod:
  """Starts the small study on simulated devices, four in all."""

  def start(
    self, workdir: Path | str, count: int, *flags: str, main: tuple[str, ...] = ('-m', 'sweb_jax.main')
  ) -> list[subprocess.Popen]:
    with socket.socket() as s:
      s.bind(('', 0))
      port = s.getsockname()[1]
    env = {
      **os.environ,
      'JAX_PLATFORMS': 'cpu',
      'XLA_FLAGS': f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count={4 // count}',
    }
    several = (f'--coordinator=127.0.0.1:{port}', f'--process_count={count}') if count > 1 else ()
    command = [*main, '--config=tests/runtime/small_pod.py', f'--workdir={workdir}']
    return [
      Forked(
        [*command, *flags, *several, *((f'--process_id={i}',) if several else ())],
        cwd=ROOT,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
      )
      for i in range(count)
    ]

  def __call__(self, workdir: Path, count: int, *flags: str) -> list[str]:
    """Runs it to its end; returns what each process wrote to stderr."""
    return [err for _, err in self.ended(self.start(workdir, count, *flags), 0)]

  @staticmethod
  def ended(processes: list[subprocess.Popen], code: int, seconds: float = 150) -> list[tuple[str, str]]:
    """Waits for processes that are to end with a code; returns what they wrote."""
    try:
      outputs = [p.communicate(timeout=seconds) for p in processes]
    finally:
      for p in processes:
        p.kill()
    assert [p.returncode for p in processes] == [code] * len(processes), outputs
    return outputs


def wait_for(processes: list[subprocess.Popen], workdir: Path, pattern: str) -> None:
  while not list(workdir.glob(pattern)):
    assert all(p.poll() is None for p in processes), [p.communicate() for p in processes]
    time.sleep(0.01)


def rows(workdir: Path, *patterns: str) -> list[tuple]:
  """Every sample in the chunks of some folders, in order, without log-probabilities; each must be there once."""
  found = []
  for path in (p for pattern in patterns for p in workdir.glob(f'{pattern}/{layout.CHUNKS}')):
    for row in map(json.loads, path.read_bytes().splitlines()):
      found.append((str(path.parent.relative_to(workdir)), row['problem_id'], row['index'], tuple(row['tokens'])))
  assert found and len({row[:3] for row in found}) == len(found), 'nothing was drawn, or a sample twice'
  return sorted(found)


SAMPLED = f'samples/*/*/{layout.CHUNKS}'
DRAWN, ANSWERS = ('samples/*/*', 'allocations/*/*/*'), ('scores/*/*/*/*/*/*',)
VERDICTS = (f'verdicts/*/*/{layout.VERDICTS}', f'examples/*/*/{layout.EXAMPLES}', f'examples/*/*/{layout.COUNTS}')
ALLOCATED = (f'allocations/*/*/{layout.ALLOCATION}', f'allocations/*/*/*/{layout.GRADED}')
HELD = f'allocations/*/*/*/{layout.HELD}'
RESULTS = (f'models/*/*/*/{layout.SELECTION}', f'scores/*/*/*/*/*/*/{layout.VERDICTS}', f'{layout.TABLES}/*')


def written(workdir: Path, *patterns: str) -> dict[str, bytes]:
  found = {pattern: sorted(workdir.glob(pattern)) for pattern in patterns}
  assert all(found.values()), found
  return {str(p.relative_to(workdir)): p.read_bytes() for paths in found.values() for p in paths}


def check_same(workdir: Path, one: Path) -> None:
  """But for the last digits of what trained models are: sums over processes are rounded in another order."""
  assert rows(workdir, *DRAWN) == rows(one, *DRAWN)
  found, wanted = (written(w, *VERDICTS, *ALLOCATED, *RESULTS) for w in (workdir, one))
  assert found.keys() == wanted.keys()
  assert [k for k in wanted if found[k] != wanted[k]] == []
  assert rows(workdir, *ANSWERS) == rows(one, *ANSWERS)
  assert not list(workdir.rglob('*.part-*')) and not list(workdir.rglob('*.tmp'))


@pytest.fixture(scope='module')
def pod() -> Pod:
  return Pod()


@pytest.fixture(scope='module')
def one(pod, tmp_path_factory) -> Path:
  """The study by one process on four devices, in a bucket, stopped after the samples and gone on with."""
  folder = tmp_path_factory.mktemp('store')
  main = str(ROOT / 'tests/runtime/on_object_store.py'), str(folder)
  for stages in ('plan,sample', 'plan,sample,grade,train,evaluate,report'):
    ((out, _),) = pod.ended(pod.start('gs://bucket/study', 1, f'--stages={stages}', main=main), 0)
  assert f'Report: gs://bucket/study/{layout.INDEX}' in out
  return folder / 'bucket/study'


def test_in_a_bucket_nothing_is_left_over_and_nothing_lies_outside(one):
  assert [p.name for p in one.parents[1].iterdir()] == ['bucket'] and not (ROOT / 'gs:').exists()
  assert (one / layout.INDEX).exists() and not list(one.rglob('*.tmp'))


@pytest.mark.slow
def test_processes_that_draw_as_one_draw_what_one_process_draws(pod, one, tmp_path):
  """Four of one device each, as one over all devices; stopped while they draw; then two and two with a copy, and with
  two trainings side by side."""
  flags = ('--config.mesh.tensor=2',)
  processes = pod.start(tmp_path, 4, *flags, '--config.engine.draw_on=slice')
  wait_for(processes, tmp_path, SAMPLED)
  processes[3].send_signal(signal.SIGTERM)
  pod.ended(processes, 75, seconds=40)
  pod(tmp_path, 4, *flags, '--config.train.side_by_side=2')
  check_same(tmp_path, one)
  assert {p.name[:9] for p in tmp_path.glob(SAMPLED)} == {f'chunk-00{i}' for i in range(4)}


@pytest.mark.slow
def test_processes_killed_and_stopped_and_started_in_other_numbers_end_as_one_process(pod, one, tmp_path):
  """Two, one killed in sampling; four, one killed in training; two over which parameters are split, stopped; two."""
  workdir, rng = tmp_path / 'workdir', random.Random(0)
  states = f'rate_*/{layout.STATE}/[0-9]*'
  for count, pattern in ((2, SAMPLED), (4, f'models/*/*/wc_low/{states}')):
    processes = pod.start(workdir, count)
    wait_for(processes, workdir, pattern)
    time.sleep(rng.uniform(0, 0.5))
    processes[0].kill()
    for _, err in pod.ended(processes[1:], 75):
      assert 'Stopped: process 0' in err and 'it goes on from here' in err
    processes[0].communicate()
  drawn = rows(workdir, *DRAWN)
  assert set(drawn) <= set(rows(one, *DRAWN))
  # The weights that are trained move to another mesh to be scored, of both processes together. The learner has its own.
  mesh = '--config.mesh.data=1', '--config.mesh.fsdp=4'
  flags = (*mesh, '--config.train.tensor.wc=2', '--config.engine.draw_on=slice', '--config.train.side_by_side=2')
  processes = pod.start(workdir, 2, *flags)
  wait_for(processes, workdir, f'models/*/*/se_low/{states}')
  processes[1].send_signal(signal.SIGTERM)
  outputs = pod.ended(processes, 75)
  assert 'The same command goes on from here.' in outputs[0][0]
  pod(workdir, 2)
  check_same(workdir, one)
  assert written(workdir, HELD) == written(one, HELD)
  owners = {p.name[:9] for p in workdir.glob(SAMPLED)}
  assert len(owners) > 2, 'not all processes drew'
