"""Writes the workloads of docs/performance.md, and the models they run on.

    python benchmarks/workloads.py --out=DIR [--gsm8k=GSM8K_DIR] [--problems=N]

- `gemma2_random/`: a random Gemma-2 shape (12 layers, width 512, 8 heads, 4 KV heads, head width 64, hidden 2048,
  vocabulary 8192, window 256) as a Hugging Face directory; `gemma2_random.json`: a 512-token prefix, 48-token problems,
  n = 8, lengths geometric with mean 60, at most 256.
- with `--gsm8k`, `gemma3_270m/`: the real Gemma 3 270M, dequantised; `gemma3_270m.json`: 8-shot GSM8K prompts, n = 4,
  at most 96 new tokens, temperature 0.7.

Needs the extras `parity` (transformers writes the directories) and `gemma3-270m`.
"""

from __future__ import annotations

import json

import numpy as np
from absl import app, flags
from etils import epath

OUT = flags.DEFINE_string('out', None, 'Folder to write to.', required=True)
GSM8K = flags.DEFINE_string('gsm8k', None, "Folder of GSM8K's train and test files.")
PROBLEMS = flags.DEFINE_integer('problems', None, 'Problems a workload; default 32 (random) and 4 (270M).')


def main(_) -> None:
  out = epath.Path(OUT.value)
  out.mkdir(parents=True, exist_ok=True)
  random_gemma2(out)
  if GSM8K.value:
    gemma3_270m(out)


def random_gemma2(out: epath.Path) -> None:
  import torch
  from transformers import Gemma2Config, Gemma2ForCausalLM

  torch.manual_seed(0)
  model = Gemma2ForCausalLM(
    Gemma2Config(
      vocab_size=8192,
      hidden_size=512,
      intermediate_size=2048,
      num_hidden_layers=12,
      num_attention_heads=8,
      num_key_value_heads=4,
      head_dim=64,
      query_pre_attn_scalar=64,
      sliding_window=256,
    )
  )
  model.save_pretrained(out / 'gemma2_random')
  rng = np.random.default_rng(0)
  prefix = rng.integers(4, 8192, 512).tolist()
  prompts = [prefix + rng.integers(4, 8192, 48).tolist() for _ in range(PROBLEMS.value or 32)]
  lengths = np.minimum(rng.geometric(1 / 60, 8 * len(prompts)), 256).tolist()
  work = dict(prompts=prompts, n=8, max_new=256, temperature=1.0, top_k=64, stop_ids=[1], lengths=lengths)
  (out / 'gemma2_random.json').write_text(json.dumps(work))


def gemma3_270m(out: epath.Path) -> None:
  import sys

  sys.path.append(str(epath.Path(__file__).parents[1] / 'tests/models'))
  from test_huggingface_parity import huggingface_model

  from sweb_jax import tasks
  from sweb_jax.models.gemma import gguf_reader
  from sweb_jax.models.tokenizer import Tokenizer
  from sweb_jax.tasks.rendering import Renderer

  config, params, tokenizer = gguf_reader.read(gguf_reader.find_gemma3_270m())
  huggingface_model(config, params).save_pretrained(out / 'gemma3_270m')
  tokenizer = Tokenizer.from_bytes(tokenizer)
  tokenizer.save(out / 'gemma3_270m/tokenizer.model')
  task = tasks.get('gsm8k', data_dir=GSM8K.value, world=None)
  renderer = Renderer(tokenizer, task.few_shot())
  problems = task.problems('test', PROBLEMS.value or 4, 0)
  prompts = [[*renderer.prefix, *renderer.prompt(task.prompt(p))] for p in problems]
  work = dict(prompts=prompts, n=4, max_new=96, temperature=0.7, top_k=64, stop_ids=[tokenizer.eos_id])
  (out / 'gemma3_270m.json').write_text(json.dumps(work))


if __name__ == '__main__':
  app.run(main)
