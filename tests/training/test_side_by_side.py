"""Trainings side by side in one program give what each gives by itself."""

from __future__ import annotations

import functools
import json
import pathlib
import socket
import subprocess

import jax
import numpy as np
import pytest

from sweb_jax.models import sharding
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.training import Fit, Lora, Optimizer, Packer, Run, Schedule, fit, groups
from sweb_jax.training.side_by_side import choose
from tests import forked

CONFIG = ModelConfig(
  64, 32, 64, 2, 4, 2, 16, pattern=('local', 'global'), window=6, attn_softcap=5.0, final_softcap=8.0
)
TOLERANCE = 2e-5
"""Of a parameter, to the largest of its array, after some steps of Adam: XLA adds up in another order where runs are
together."""


@functools.cache
def params():
  return CONFIG.init(jax.random.key(0))


def packer(seed: int, examples: int, longest: int = 14, steps: int = 6) -> Packer:
  rng = np.random.default_rng(seed)
  rendered = [((2, *rng.integers(4, 64, n).tolist(), 1), n // 2) for n in rng.integers(4, longest, examples).tolist()]
  return Packer(rendered, batch=8, steps=steps, seed=seed, row_length=24, multiple_of=2)


def runs(folder) -> list[Run]:
  """Another rate, other examples in rows of another number, an earlier end: all at once."""
  long, short = packer(0, 16), packer(1, 40, longest=22, steps=3)
  assert long.shape != short.shape
  return [
    Run(long, Schedule(1e-2, 6), (3, 6), score, folder / 'one', seed=1),
    Run(long, Schedule(3e-3, 6), (3, 6), score, folder / 'another rate', seed=2),
    Run(short, Schedule(1e-2, 3), (2, 3), score, folder / 'other examples', seed=3),
  ]


def score(params) -> tuple[float, int, float]:
  """Any change of the parameters changes it."""
  return float(np.abs(np.asarray(params['layer_1']['mlp']['linear'])).mean()), 1, 1.0


def together(folder, optimizer: Optimizer, **how) -> list[Fit]:
  return fit(
    params(), CONFIG, runs(folder), mesh=sharding.make_mesh(), optimizer=optimizer, save_seconds=1e9, **how
  )


@functools.cache
def alone(folder, optimizer: Optimizer) -> list[Fit]:
  mesh = sharding.make_mesh()
  found = (fit(params(), CONFIG, [r], mesh=mesh, optimizer=optimizer, save_seconds=1e9) for r in runs(folder))
  return [f for (f,) in found]


def difference(a, b) -> float:
  pairs = [(np.asarray(x), np.asarray(y)) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]
  return max(float(np.abs(x - y).max() / max(np.abs(y).max(), 1e-30)) for x, y in pairs)


OPTIMIZERS = {
  'adamw': Optimizer(weight_decay=0.01, micro_batches=2, remat='full'),
  'adafactor': Optimizer('adafactor'),
  'lora': Optimizer(lora=Lora(2, 4.0, 'attn|mlp')),
}


@pytest.mark.slow
@pytest.mark.parametrize('how', OPTIMIZERS)
def test_runs_of_other_rates_examples_and_lengths_end_as_each_by_itself(tmp_path, how):
  found, wanted = together(tmp_path / 'together', OPTIMIZERS[how]), alone(tmp_path / 'alone', OPTIMIZERS[how])
  for a, b in zip(found, wanted, strict=True):
    assert difference(a.params, b.params) < TOLERANCE
    assert a.step == b.step and [s.step for s in a.scores] == [s.step for s in b.scores]
    np.testing.assert_allclose([s.accuracy for s in a.scores], [s.accuracy for s in b.scores], rtol=TOLERANCE)
  assert difference(found[0].params, found[1].params) > 100 * TOLERANCE
  for name in ('one', 'another rate', 'other examples'):
    rows = [(tmp_path / of / name / 'metrics.jsonl').read_text().splitlines() for of in ('together', 'alone')]
    a, b = ([[json.loads(row)[k] for k in ('step', 'tokens', 'loss', 'grad_norm')] for row in of] for of in rows)
    np.testing.assert_allclose(a, b, rtol=1e-4)


class Stopped(Exception):
  pass


def stop_after(step: int):
  left = iter(range(1, step + 1))

  def on_step(_: int) -> None:
    if next(left) == step:
      raise Stopped

  return on_step


@pytest.mark.slow
@pytest.mark.parametrize('stop', [1, 2, 4, 5])
def test_runs_that_were_stopped_go_on_together_to_the_bit_and_apart_within_the_tolerance(tmp_path, stop):
  how = OPTIMIZERS['adamw']
  wanted = together(tmp_path / 'undisturbed', how)
  for folder in ('stopped', 'apart'):
    with pytest.raises(Stopped):
      together(tmp_path / folder, how, on_step=stop_after(stop), save_on=Stopped)
  for a, b in zip(together(tmp_path / 'stopped', how), wanted, strict=True):
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, a.params, b.params)))
    assert a.scores == b.scores
  for run, b in zip(runs(tmp_path / 'apart'), wanted, strict=True):
    (a,) = fit(params(), CONFIG, [run], mesh=sharding.make_mesh(), optimizer=how, save_seconds=1e9)
    assert difference(a.params, b.params) < TOLERANCE


@pytest.mark.slow
def test_groups_are_as_large_as_may_be_and_each_of_their_runs_has_a_part_of_the_mesh():
  assert groups([9] * 7, 3, 1) == [[0, 1, 2], [3, 4, 5], [6]]
  assert on_eight_devices()['groups'] == [[4, 4, 4], [4, 2, 1], [2, 1], [4, 4, 1, 4, 2]]


@pytest.mark.slow
def test_as_many_are_chosen_as_fit_into_memory_and_the_batch_is_small_for():
  assert choose(CONFIG, Optimizer(), sharding.make_mesh(), memory=1e12, batch=8) == 1  # One device has no parts.
  assert on_eight_devices()['chosen'] == {
    'no memory known': 1, 'all fits': 8, 'a large batch': 2, 'little memory': 4, 'less': 2, 'less, and nothing kept': 4,
    'adapters': 2,
  }  # fmt: skip


def test_a_training_is_not_put_beside_one_that_is_more_than_twice_as_long():
  assert groups([600, 6000, 300, 250, 3000], 5, 1) == [[1, 4], [0, 2], [3]]


@functools.cache
def on_eight_devices() -> dict:
  done = forked.run(pathlib.Path(__file__).with_name('side_by_side_on_eight_devices.py'))
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout)


@pytest.mark.slow
def test_on_eight_devices_runs_end_as_by_themselves_on_meshes_like_their_parts():
  found = on_eight_devices()['difference']
  assert len(found) == 4 and max(found.values()) < TOLERANCE


@pytest.mark.slow
def test_on_eight_devices_a_device_holds_a_part_of_one_run_and_nothing_of_the_others():
  assert on_eight_devices()['share'] == {
    'fsdp=2': 1 / 2, 'data=2': 1 / 2, 'data=2 fsdp=2': 1 / 2, 'fsdp=4 tensor=2': 1 / 8
  }


@pytest.mark.slow
def test_on_eight_devices_stopped_runs_go_on_on_another_mesh():
  assert on_eight_devices()['moved'] < TOLERANCE


@pytest.mark.slow
def test_processes_save_several_runs_at_once(tmp_path):
  with socket.socket() as s:
    s.bind(('', 0))
    coordinator = f'127.0.0.1:{s.getsockname()[1]}'
  script = pathlib.Path(__file__).with_name('saves_of_two_processes.py')
  processes = [
    forked.Forked(
      [script, coordinator, i, tmp_path],
      text=True,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
    )
    for i in range(2)
  ]
  try:
    outputs = [p.communicate(timeout=120) for p in processes]
  finally:
    for p in processes:
      p.kill()
  assert [p.returncode for p in processes] == [0, 0], outputs
  assert [json.loads(out.splitlines()[-1]) for out, _ in outputs] == [[['6'], ['6']]] * 2
