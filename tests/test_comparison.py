"""`python -m sweb_jax.models compare`: what it prints, and what it says where a model cannot be compared."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from sweb_jax import comparison
from sweb_jax.comparison import Compared, Side

ROOT = pathlib.Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def run(source: str, **environment: str) -> subprocess.CompletedProcess:
  return subprocess.run(
    [sys.executable, '-m', 'sweb_jax.models', 'compare', source], cwd=ROOT, capture_output=True, text=True, check=False,
    env=os.environ | {'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'} | environment,
  )  # fmt: skip


def test_both_implementations_of_an_embedded_model_agree_on_two_devices():
  pytest.importorskip('gemma')
  done = run('embedded:wc', JAX_NUM_CPU_DEVICES='2')
  assert done.returncode == 0, done.stderr
  rows = dict(re.findall(r'^(\w+(?: \w+)?) +(.*)$', done.stdout, re.MULTILINE))
  assert list(rows) == ['logits', 'greedy text', 'loss', 'gradient', 'drawing', 'training']
  assert float(re.search(r'largest difference (\S+), largest', rows['logits'])[1]) < 1e-4
  assert rows['greedy text'] == '24 of 24 are equal, 768 tokens'
  assert len(set(re.findall(r'\d+\.\d{4}', rows['loss']))) == 1
  for name in ('drawing', 'training'):
    assert re.fullmatch(r'native [\d.,]+ tokens/s, gemma [\d.,]+: \d+\.\d+ times the time', rows[name])


def side(**changes) -> Side:
  text = {('0', 0): (5, 6), ('1', 0): (7, 8)}
  found = dict(logits=np.eye(3), texts=text, loss=1.0, gradient_norm=2.0, draw_seconds=1.0, step_seconds=1.0)
  return Side(**found | changes)


@pytest.mark.parametrize(
  ('changes', 'agree'),
  [
    ({}, True),
    ({'logits': np.eye(3) + 1e-5}, True),
    ({'logits': np.eye(3) * 1.001}, False),
    ({'logits': np.eye(3) * np.nan}, False),
    ({'loss': 1.001}, False),
    ({'loss': np.nan}, False),
    ({'texts': {('0', 0): (5, 6), ('1', 0): (7, 9)}}, False),
  ],
)
def test_a_difference_of_a_logit_of_the_loss_or_of_a_text_is_no_agreement(changes, agree):
  assert Compared(side(), side(**changes), drawn=4, trained=9).agree == agree


def test_a_model_that_cannot_be_opened_is_one_message():
  done = run('/nowhere')
  assert done.returncode == 1 and done.stderr.startswith("Error: '/nowhere': no such folder")
  assert 'Traceback' not in done.stderr and not done.stdout


def test_a_shape_is_refused_before_the_library_is_imported(monkeypatch):
  monkeypatch.setitem(sys.modules, 'gemma', None)
  with pytest.raises(ValueError, match='a shape without weights'):
    comparison.compare('size:gemma3_1b')
