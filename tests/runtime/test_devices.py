"""Simulated devices."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sweb_jax.runtime import devices
from tests import forked

ROOT = Path(__file__).parents[2]


def test_more_programs_than_threads_do_not_hang_simulated_devices():
  script = Path(__file__).parent / 'two_simulated_devices.py'
  run = forked.run('-c', f'import runpy; runpy.run_path({str(script)!r})', timeout=60)
  assert run.returncode == 0, run.stderr
  assert run.stdout.split() == ['800.0'] * 6


def test_a_number_of_devices_that_is_none_is_refused_by_its_name(monkeypatch):
  monkeypatch.delenv('XLA_FLAGS', raising=False)
  monkeypatch.setenv('NPROC', '')  # So that it is as before when the test has ended.
  monkeypatch.delenv('NPROC')
  for wrong in ('four', '', '0', '-2', '2.5'):
    monkeypatch.setenv('JAX_NUM_CPU_DEVICES', wrong)
    with pytest.raises(devices.DevicesError, match=f"JAX_NUM_CPU_DEVICES='{wrong}': give a number"):
      devices.room_for_simulated_devices()
  for right, threads in (('-1', None), ('1', None), (' 3 ', '24')):
    monkeypatch.setenv('JAX_NUM_CPU_DEVICES', right)
    devices.room_for_simulated_devices()
    assert os.environ.get('NPROC') == threads
