"""The training benchmark's command: what it refuses before any compute."""

from __future__ import annotations

import pathlib

import pytest

from tests import forked

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
  ('flag', 'message'),
  [('--compare=sweb_jax,maxtext', '--compare=maxtext: systems are sweb_jax'), ('--lengths=nowhere', 'no train.jsonl')],
)
def test_flags_that_make_no_sense_are_one_message(tmp_path, flag, message):
  done = forked.run(ROOT / 'benchmarks/training.py', f'--out={tmp_path}/out.json', flag)
  assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr
