"""A real server is asked: llama.cpp's, with Gemma 3 270M."""

from __future__ import annotations

import dataclasses
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
def test_a_real_server_draws_several_samples_a_request_and_counts_them(url):
  endpoint = Endpoint('pro', url, 'gemma', 'none', 'KEY', False, 6, 0.8, 1.0, 40, ('\n',), 2, 1, 60.0)
  purse = Purse(0)
  purse.begin((1.0, 1.0), lambda: 0.0)
  tokenizer, prompt = open_model('gguf:gemma3_270m').tokenizer, 'Counting: 1, 2, 3, 4,'
  counting = dataclasses.replace(endpoint, encode=lambda text, end: tokenizer.encode(text))
  replies = [
    # Of several samples this server counts the tokens of one.
    *counting.draw([Ask('a', prompt, (0, 1), 7)], purse, lambda: False),
    *endpoint.draw([Ask('b', prompt, (0,), 8)], purse, lambda: False),
  ]
  drawn = {(s.problem_id, s.index): s for r in replies for s in r.samples}
  assert drawn.keys() == {('a', 0), ('a', 1), ('b', 0)} and all(s.text for s in drawn.values())
  assert replies[-1].prompt_tokens == 1 + len(tokenizer.encode(prompt))
  assert all(0 < len(s.tokens) <= 6 and '\n' not in s.text for s in drawn.values())
  assert len(drawn['b', 0].tokens) == 6 or drawn['b', 0].finish == 'stop'
