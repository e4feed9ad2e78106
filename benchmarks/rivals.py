"""The same workload as `sampling.py` through other systems, from the same Hugging Face directory, float32.

    python benchmarks/rivals.py --system=gemma|huggingface --model=DIR --workload=FILE.json --out=FILE.json

- gemma: the gemma library's `gm.text.Sampler`, its cache and buffers as long as the workload needs.
- huggingface: transformers' `generate`.

Each draws batches of `--rows` rows, n of every problem, and waits for a batch's longest row, as neither can refill.
With `lengths` in the workload a batch runs as long as its longest row; what others draw beyond theirs is not counted.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import numpy as np
from absl import app, flags
from etils import epath

SYSTEM = flags.DEFINE_enum('system', None, ['gemma', 'huggingface'], 'What to run.', required=True)
MODEL = flags.DEFINE_string('model', None, 'Hugging Face directory.', required=True)
WORKLOAD = flags.DEFINE_string('workload', None, 'Workload file.', required=True)
OUT = flags.DEFINE_string('out', None, 'File to write.', required=True)
ROWS = flags.DEFINE_integer('rows', 64, 'Rows a batch.')
ROUNDS = flags.DEFINE_integer('rounds', 1, 'Timed runs; `seconds` is their median.')

Draw = Callable[[list[list[int]], int, int], list[list[int]]]
"""(rows of prompt ids, new tokens at most, seed) to the ids drawn in each row."""


def main(_) -> None:
  work = json.loads(epath.Path(WORKLOAD.value).read_text())
  rows = [p for p in work['prompts'] for _ in range(work['n'])]
  limits = work.get('lengths', [work['max_new']] * len(rows))
  stops = set() if 'lengths' in work else set(work['stop_ids'])
  begun = time.monotonic()
  draw = {'gemma': gemma, 'huggingface': huggingface}[SYSTEM.value](work, stops, max(limits))
  loaded = time.monotonic() - begun

  def run(seed: int) -> int:
    useful = 0
    for i in range(0, len(rows), ROWS.value):
      some = slice(i, i + ROWS.value)
      for ids, limit in zip(draw(rows[some], max(limits[some]), seed + i), limits[some], strict=True):
        ends = [k + 1 for k, t in enumerate(ids[:limit]) if t in stops]
        useful += ends[0] if ends else min(limit, len(ids))
    return useful

  draw(rows[: ROWS.value], 2, 0)  # Compiles, where there is something to compile.
  seconds = []
  for i in range(ROUNDS.value):
    begun = time.monotonic()
    useful = run(1000 * (i + 1))
    seconds.append(time.monotonic() - begun)
  result = {
    'useful_tokens': useful,
    'seconds': round(sorted(seconds)[len(seconds) // 2], 3),
    'load_seconds': round(loaded, 3),
    'peak_rss_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
  }
  epath.Path(OUT.value).write_text(json.dumps(result, indent=2) + '\n')
  print(json.dumps(result))


def gemma(work, stops: set[int], longest: int) -> Draw:
  import jax
  from gemma import gm

  from sweb_jax.models import families, sharding
  from sweb_jax.models.source import read_config, read_params

  config = read_config(MODEL.value)

  class Special(gm.text.SpecialTokens):
    """Ids that the sampler asks for; one that is never drawn where nothing ends a row."""

    PAD = 0
    EOS = next(iter(stops), -1)
    BOS = 2
    END_OF_TURN = -1

  class Ids:
    """In place of a tokenizer: text is ids with blanks between them."""

    special_tokens = Special
    VERSION = 0
    FORBIDDEN_TOKENS = (0,)

    def encode(self, text: str, add_bos: bool = False) -> list[int]:
      del add_bos  # The prompts have it.
      return [int(i) for i in text.split()]

    def decode(self, ids) -> str:
      return ' '.join(str(int(i)) for i in ids)

  prompt = max(len(p) for p in work['prompts'])
  methods = gm.text.TopkSampling(temperature=work['temperature'], k=work['top_k']) if work['temperature'] else None
  sampler = gm.text.Sampler(
    model=families.implement(config, 'gemma').module,
    params=read_params(MODEL.value, config, sharding.make_mesh()),
    tokenizer=Ids(),
    sampling=methods or gm.text.Greedy(),
    cache_length=prompt + longest + 1,
    max_out_length=longest,
    pad_length=prompt,
  )

  def draw(rows, limit, seed):
    texts = sampler.sample([Ids().decode(r) for r in rows], max_new_tokens=limit, rng=jax.random.key(seed))
    return [Ids().encode(t) for t in texts]

  return draw


def huggingface(work, stops: set[int], longest: int) -> Draw:
  import torch
  from transformers import AutoModelForCausalLM

  del longest
  model = AutoModelForCausalLM.from_pretrained(MODEL.value, dtype=torch.float32).eval()
  how = dict(do_sample=True, temperature=work['temperature'], top_k=work['top_k'], top_p=1.0)
  how = how if work['temperature'] else dict(do_sample=False)

  def draw(rows, limit, seed):
    torch.manual_seed(seed)
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(r)) + r for r in rows])
    mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows])
    with torch.no_grad():
      out = model.generate(
        ids, attention_mask=mask, max_new_tokens=limit, eos_token_id=sorted(stops) or None, pad_token_id=0, **how
      )
    return np.asarray(out[:, width:]).tolist()

  return draw


if __name__ == '__main__':
  app.run(main)
