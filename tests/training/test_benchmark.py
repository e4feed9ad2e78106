"""The training benchmark's command: what it refuses before any compute."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
  ('flag', 'message'),
  [('--compare=sweb_jax,maxtext', '--compare=maxtext: systems are sweb_jax'), ('--lengths=nowhere', 'no train.jsonl')],
)
def test_flags_that_make_no_sense_are_one_message(tmp_path, flag, message):
  command = [sys.executable, ROOT / 'benchmarks/training.py', f'--out={tmp_path}/out.json', flag]
  environment = os.environ | {'PYTHONPATH': str(ROOT)}
  done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
  assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr
