"""Simulated devices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_more_programs_than_threads_do_not_hang_simulated_devices():
  script = Path(__file__).parent / 'two_simulated_devices.py'
  command = [sys.executable, '-c', f'import runpy; runpy.run_path({str(script)!r})']
  run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
  assert run.returncode == 0, run.stderr
  assert run.stdout.split() == ['800.0'] * 6
