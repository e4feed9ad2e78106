"""A real server is asked: llama.cpp's, with Gemma 3 270M."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweb_jax.models.source import CheckpointError, open_model
from sweb_jax.sampling.endpoint import Ask, Endpoint, Purse

pytest.importorskip('openai', reason='needs the extra endpoint')
pytest.importorskip('xllamacpp', reason='needs a server of llama.cpp')


@pytest.fixture(scope='module')
def url():
  try:
    open_model('gguf:gemma3_270m')
  except CheckpointError as e:
    pytest.skip(str(e))
  script = Path(__file__).with_name('serve_gemma.py')
  python = [sys.executable, str(script)]
  quiet = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'stderr': subprocess.DEVNULL}
  with subprocess.Popen(python, text=True, env=os.environ, **quiet) as process:
    address = next((line for line in process.stdout if line.startswith('http')), None)
    assert address, 'the server did not start'
    yield f'{address.strip()}/v1'
    process.stdin.close()


@pytest.mark.slow
def test_a_real_server_draws_counts_and_knows_seeds(url):
  endpoint = Endpoint('pro', url, 'gemma', 'none', 'KEY', False, 6, 0.8, 1.0, 40, ('\n',), 2, 1, 60.0)
  purse = Purse(0)
  purse.begin((1.0, 1.0), lambda: 0.0)
  asks = [Ask('a', 'Counting: 1, 2, 3, 4,', (0, 1), 7), Ask('b', 'Counting: 1, 2, 3, 4,', (0,), 8)]

  def drawn():
    replies = [r for r in endpoint.draw(asks, purse, lambda: False)]
    return {(s.problem_id, s.index): s for r in replies for s in r.samples}, {r.prompt_tokens for r in replies}

  (first, read), (second, _) = drawn(), drawn()
  assert first.keys() == {('a', 0), ('a', 1), ('b', 0)} and all(s.text for s in first.values())
  assert first['b', 0] == second['b', 0]
  tokenizer = open_model('gguf:gemma3_270m').tokenizer
  assert read == {1 + len(tokenizer.encode('Counting: 1, 2, 3, 4,'))}
  for s in first.values():
    assert len(s.tokens) == 6 or s.finish == 'stop'
    assert '\n' not in s.text and purse.spent > 0
