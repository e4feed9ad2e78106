"""What the host does for a drawn token: between two calls of a device, and beside it.

    python benchmarks/engine_host.py --tokenizer=TOKENIZER.model [--slots=64,256,1024]

The engine runs 30 samples of each problem, of 357 tokens on average, on a device that answers at once with random ids.
Prints CPU microseconds a token: `between` two chunks, while a device waits; `text` is what the caller does beside the
device, in the same thread; `files` is what goes on in another thread, to the chunks of a store.
"""

from __future__ import annotations

import gzip
import os
import tempfile
import time
from pathlib import Path

os.environ['JAX_PLATFORMS'] = 'cpu'

import jax
import numpy as np
from absl import app, flags

from sweb_jax.models import sharding
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.models.tokenizer import Tokenizer
from sweb_jax.records import Sample
from sweb_jax.sampling import Engine, Request, Rule, Store, engine
from sweb_jax.sampling.chunk import Drawn
from sweb_jax.tasks.rendering import Renderer

TOKENIZER = flags.DEFINE_string('tokenizer', None, 'A tokenizer.model, plain or gzipped.', required=True)
SLOTS = flags.DEFINE_list('slots', ['64', '256', '1024'], 'Rows drawn together.')

STEPS, TOKENS, LONGEST, PROMPT = 16, 357, 1024, 100


class AtOnce:
  """A device that draws in no time, up to each row's limit; notes the main thread's time since its last answer."""

  def __init__(self, slots: int, vocabulary: int):
    rng = np.random.default_rng(0)
    self._ids = [rng.integers(300, vocabulary, (slots, STEPS)).astype(np.int32) for _ in range(16)]
    self._calls = 0
    self.since = self.tokens = 0
    self._answered: float | None = None

  def prefill(self, *_) -> None:
    pass

  def decode(self, params, rows, key, stops, *, steps, rule) -> Drawn:
    if self._answered is not None:
      self.since += time.thread_time() - self._answered
    drawn = np.minimum(rows.left, STEPS)
    ids = np.where(np.arange(STEPS) < drawn[:, None], self._ids[self._calls % 16], -1)
    self._calls += 1
    self.tokens += int(drawn.sum())
    ended = (drawn > 0) & (rows.left == drawn)
    answer = Drawn(ids, np.where(ids < 0, 0, -1.0).astype(np.float32), rows.state, ended)
    self._answered = time.thread_time()
    return answer


def main(_) -> None:
  raw = Path(TOKENIZER.value).read_bytes()
  tokenizer = Tokenizer.from_bytes(gzip.decompress(raw) if raw[:2] == b'\x1f\x8b' else raw)
  config, renderer = ModelConfig(tokenizer.vocab_size, 8, 16, 1, 1, 1, 8), Renderer(tokenizer)
  print('| slots | tokens | between | text | files |\n| --- | --- | --- | --- | --- |')
  for slots in map(int, SLOTS.value):
    device, rng = AtOnce(slots, tokenizer.vocab_size), np.random.default_rng(1)
    engine.SharedCache = lambda *_, device=device, **__: device
    lengths = np.clip(rng.gamma(4, TOKENS / 4, (slots // 4, 30)), 20, LONGEST).astype(int)
    prompts = [(*range(4, PROMPT + 3), 300 + p) for p in range(len(lengths))]
    requests = [Request(f'p{p}', i, prompts[p], int(n)) for p, of in enumerate(lengths) for i, n in enumerate(of)]
    how = dict(stop_ids=[1], prompt_length=PROMPT, max_new_tokens=LONGEST, slots=slots)
    drawing = Engine(config, sharding.make_mesh(), Rule(0.7, 3), **how)
    text, whole, own = 0.0, time.process_time(), time.thread_time()
    with tempfile.TemporaryDirectory() as folder:
      store = Store(folder)
      for c in drawing.run({'x': np.zeros(1, np.float32)}, requests, key=jax.random.key(0)):
        begun = time.thread_time()
        store.add(Sample(c.problem_id, c.index, renderer.text(c.tokens), c.tokens, c.finish, c.logprob))
        text += time.thread_time() - begun
      store.flush()
    rows = device.since - text, text, time.process_time() - whole - (time.thread_time() - own)
    print(f'| {slots} | {device.tokens} | {" | ".join(f"{1e6 * x / device.tokens:.2f}" for x in rows)} |')


if __name__ == '__main__':
  app.run(main)
