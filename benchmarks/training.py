"""Trains a random Gemma 2 for a few steps and writes what a step takes; beside it the same step in other systems.

    python benchmarks/training.py --out=FILE.json [--system=sweb_jax|library|gemma|huggingface|huggingface_compiled]
    python benchmarks/training.py --out=FILE.json --compare=sweb_jax,gemma,huggingface,huggingface_compiled [--rounds=3]

The model has 12 layers, width 512, 8 heads, 4 KV heads, head width 64, hidden 2048, vocabulary 8192 (51.4 million
parameters); a step takes 16 rows of 256 random tokens with a loss on every one, AdamW, float32.

- library: this project's step with `implementation=gemma`, the gemma library's modules under the same loss.
- gemma: the gemma library's `Transformer` in the step that one writes first: all logits, optax's AdamW, `jax.jit`.
- huggingface: transformers' Gemma 2 and PyTorch's AdamW; `huggingface_compiled` through `torch.compile`.

The file written: `tokens` (of the timed steps), `seconds` (they took), `compile_seconds` (the first step less a later
one), `peak_rss_mb`, `loss` (of the first step; the gemma library's is ours, PyTorch draws weights of its own).

With `--compare` each system runs in processes of its own, in turn; the file and the table printed have each one's
median tokens/s, its ratio to the last named, and its memory. `--lengths=GSM8K_DIR` trains on rows as long as GSM8K's
examples (4 characters a token) instead, packed and one example a row, and counts the examples' tokens only.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import numpy as np
from absl import app, flags

SYSTEMS = ('sweb_jax', 'library', 'gemma', 'huggingface', 'huggingface_compiled')
OUT = flags.DEFINE_string('out', None, 'File to write.', required=True)
SYSTEM = flags.DEFINE_enum('system', 'sweb_jax', SYSTEMS, 'What to run.')
STEPS = flags.DEFINE_integer('steps', 3, 'Timed steps, after one that compiles and one that warms up.', lower_bound=1)
COMPARE = flags.DEFINE_list('compare', [], 'Systems to run in turn; the last is the unit of the ratios.')
ROUNDS = flags.DEFINE_integer('rounds', 3, 'Processes of each system, with --compare.', lower_bound=1)
LENGTHS = flags.DEFINE_string('lengths', None, "Folder of GSM8K's train file: rows of its lengths, packed and padded.")
REMAT = flags.DEFINE_string('remat', 'none', "What is recomputed: 'none', 'dots' or 'full'.")
MICRO_BATCHES = flags.DEFINE_integer('micro_batches', 1, 'Parts of the batch, one after another.', lower_bound=1)

ROWS, LENGTH, VOCABULARY = 16, 256, 8192
RATE, DECAY, B1, B2 = 1e-4, 0.01, 0.9, 0.95


def main(_) -> None:
  if unknown := set(COMPARE.value) - set(SYSTEMS):
    sys.exit(f'Error: --compare={",".join(sorted(unknown))}: systems are {", ".join(SYSTEMS)}')
  if COMPARE.value:
    result = compare()
  elif LENGTHS.value:
    result = packing(Path(LENGTHS.value))
  else:
    tokens = np.random.default_rng(0).integers(4, VOCABULARY, (ROWS, LENGTH + 1))
    step = {'sweb_jax': sweb_jax, 'library': sweb_jax, 'gemma': gemma}.get(SYSTEM.value, huggingface)(tokens)
    result = timed(step, ROWS * LENGTH)
  Path(OUT.value).write_text(json.dumps(result, indent=2) + '\n')
  if not COMPARE.value:
    print(json.dumps(result))


def timed(step: Callable[[], float], tokens: int) -> dict[str, Any]:
  """Runs a step that ends when its loss is known; `tokens` is what one counts."""
  seconds, losses = [], []
  for _ in range(2 + STEPS.value):
    begun = time.monotonic()
    losses.append(step())
    seconds.append(time.monotonic() - begun)
  timed_steps = seconds[2:]
  return {
    'tokens': tokens * STEPS.value,
    'seconds': round(sum(timed_steps), 3),
    'compile_seconds': round(seconds[0] - statistics.median(timed_steps), 3),
    'peak_rss_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    'loss': losses[0],
  }


def model_config():
  from sweb_jax.models.gemma.config import ModelConfig

  return ModelConfig(
    VOCABULARY, 512, 2048, 12, 8, 4, 64, pattern=('local', 'global'), window=LENGTH, attn_softcap=50.0,
    final_softcap=30.0,
  )  # fmt: skip


def random_params():
  import jax

  return model_config().init(jax.random.key(0))


def sweb_jax(tokens: np.ndarray) -> Callable[[], float]:
  rendered = [(tuple(row.tolist()), 1) for row in tokens]
  return packed_step(rendered, batch=ROWS)[0]


def packed_step(rendered, *, batch: int, row_length: int = LENGTH, pack: bool = True):
  """A function that trains one step on the first batch, and the tokens that the batch holds."""
  import jax.numpy as jnp

  from sweb_jax.models import families, sharding
  from sweb_jax.runtime import devices
  from sweb_jax.training import Optimizer, Packer
  from sweb_jax.training.step import start, train_step

  devices.keep_memory()
  config = families.implement(model_config(), 'gemma' if SYSTEM.value == 'library' else 'native')
  mesh = sharding.make_mesh()
  optimizer = Optimizer(b1=B1, b2=B2, weight_decay=DECAY, remat=REMAT.value, micro_batches=MICRO_BATCHES.value)
  packer = Packer(rendered, batch=batch, steps=1, seed=0, row_length=row_length, multiple_of=MICRO_BATCHES.value)
  data = packer.batch(0) if pack else one_a_row(rendered[:batch], row_length)
  state = start(random_params(), optimizer, mesh)

  def step() -> float:
    nonlocal state
    state, metrics = train_step(state, data, jnp.float32(RATE), config=config, optimizer=optimizer, mesh=mesh)
    return float(metrics.loss)

  return step, int((data.segment_ids > 0).sum())


def gemma(tokens: np.ndarray) -> Callable[[], float]:
  import jax
  import optax

  from sweb_jax.models import families

  model = families.implement(model_config(), 'gemma').module
  params = random_params()
  optimizer = optax.adamw(RATE, b1=B1, b2=B2, weight_decay=DECAY)
  state = params, optimizer.init(params)

  def mean_loss(params, tokens):
    logits = model.apply({'params': params}, tokens[:, :-1]).logits
    return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()

  @jax.jit
  def update(state, tokens):
    params, opt_state = state
    loss, grads = jax.value_and_grad(mean_loss)(params, tokens)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), loss

  def step() -> float:
    nonlocal state
    state, loss = update(state, tokens)
    return float(loss)

  return step


def huggingface(tokens: np.ndarray) -> Callable[[], float]:
  import torch
  from transformers import Gemma2Config, Gemma2ForCausalLM

  torch.manual_seed(0)
  c = model_config()
  model = Gemma2ForCausalLM(
    Gemma2Config(
      vocab_size=c.vocab_size,
      hidden_size=c.width,
      intermediate_size=c.hidden,
      num_hidden_layers=c.layers,
      num_attention_heads=c.heads,
      num_key_value_heads=c.kv_heads,
      head_dim=c.head_width,
      query_pre_attn_scalar=c.head_width,
      sliding_window=c.window,
      attn_implementation='eager',  # The only one that caps attention logits.
    )
  ).train()
  forward = torch.compile(model) if SYSTEM.value == 'huggingface_compiled' else model
  optimizer = torch.optim.AdamW(model.parameters(), RATE, (B1, B2), weight_decay=DECAY)
  ids = torch.tensor(tokens)

  def step() -> float:
    optimizer.zero_grad()
    logits = forward(input_ids=ids[:, :-1], use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    optimizer.step()
    return loss.item()

  return step


def compare() -> dict[str, Any]:
  found: dict[str, list[dict]] = {s: [] for s in COMPARE.value}
  for _ in range(ROUNDS.value):
    for system in COMPARE.value:
      with tempfile.NamedTemporaryFile(suffix='.json') as out:
        command = [sys.executable, __file__, f'--system={system}', f'--steps={STEPS.value}', f'--remat={REMAT.value}']
        command.append(f'--micro_batches={MICRO_BATCHES.value}')
        subprocess.run([*command, f'--out={out.name}'], check=True, stdout=subprocess.DEVNULL)
        found[system].append(json.loads(Path(out.name).read_text()))
      print(system, found[system][-1], file=sys.stderr)
  speeds = {s: statistics.median(r['tokens'] / r['seconds'] for r in runs) for s, runs in found.items()}
  unit = speeds[COMPARE.value[-1]]
  print('| system | tokens/s | ratio | compilation | peak memory |\n| --- | --- | --- | --- | --- |')
  for system, runs in found.items():
    memory = statistics.median(r['peak_rss_mb'] for r in runs) / 1024
    compiling = statistics.median(r['compile_seconds'] for r in runs)
    print(f'| {system} | {speeds[system]:.0f} | {speeds[system] / unit:.2f} | {compiling:.0f} s | {memory:.1f} GB |')
  return {'tokens_per_second': speeds, 'ratios': {s: v / unit for s, v in speeds.items()}, 'runs': found}


def one_a_row(rendered, row_length: int):
  """The batch as it is without packing: every example in a row of its own, as long as the longest may be."""
  from sweb_jax.training import Packer
  from sweb_jax.training.data import Batch

  rows = [Packer([r], batch=1, steps=1, seed=0, row_length=row_length).batch(0) for r in rendered]
  width = max(r.targets.shape[1] for r in rows)

  def joined(name: str) -> np.ndarray:
    some = [getattr(r, name)[:1] for r in rows]
    return np.concatenate([np.pad(a, ((0, 0), (0, max(0, width - a.shape[1])))) for a in some])

  return Batch(*map(joined, Batch._fields))


def packing(folder: Path) -> dict[str, Any]:
  """Useful tokens a second on rows of GSM8K's lengths, packed and one a row."""
  path = next((p for n in ('train.jsonl', 'train.jsonl.gz') if (p := folder / n).exists()), None)
  if path is None:
    sys.exit(f'Error: --lengths={folder}: there is no train.jsonl or train.jsonl.gz')
  with (gzip.open if path.suffix == '.gz' else open)(path, 'rt') as f:
    rows = [json.loads(line) for line in f]
  rng = np.random.default_rng(0)
  lengths = [(len(r['question']) // 4 + 1, len(r['answer']) // 4 + 2) for r in rows]
  fitting = [(a, b) for a, b in lengths if a + b - 1 <= LENGTH]
  some = [fitting[i] for i in rng.permutation(len(fitting))[:ROWS]]
  rendered = [(tuple(rng.integers(4, VOCABULARY, a + b).tolist()), a) for a, b in some]
  result = {}
  for name, pack in (('packed', True), ('padded', False)):
    step, tokens = packed_step(rendered, batch=ROWS, pack=pack)
    result[name] = timed(step, tokens)
  return result | {'useful_tokens_per_second': {k: r['tokens'] / r['seconds'] for k, r in result.items()}}


if __name__ == '__main__':
  app.run(main)
