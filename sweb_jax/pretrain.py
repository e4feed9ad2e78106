"""Makes the models of the embedded study from scratch: `python -m sweb_jax.pretrain --config=... --workdir=DIR`.

Gemma 2's architecture at 50-150 thousand parameters, trained on the made world's corpus with the loss on solutions.
"""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
from absl import app, flags, logging
from etils import epath
from ml_collections import config_flags

from sweb_jax.models import sharding, source
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.models.tokenizer import Tokenizer, train_words
from sweb_jax.records import Example
from sweb_jax.runtime import terminal
from sweb_jax.tasks import dialect
from sweb_jax.tasks.rendering import Renderer
from sweb_jax.training.data import Packer
from sweb_jax.training.loop import Schedule
from sweb_jax.training.step import Optimizer, start, train_step

_CONFIG = config_flags.DEFINE_config_file('config', None, 'What to train: configs/quickstart_pretrain.py.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder for the model folders.')
_ONLY = flags.DEFINE_list('only', [], 'Names of the models to train; all of them by default.')


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments: {argv[1:]}')
  config = _CONFIG.value
  workdir = epath.Path(_WORKDIR.value)
  tokenizer = Tokenizer.from_bytes(train_words(dialect.vocabulary(config.world)))
  renderer = Renderer(tokenizer)
  mesh = sharding.make_mesh()
  optimizer = Optimizer(b2=config.b2, weight_decay=config.weight_decay)
  for number, (name, m) in enumerate(sorted(config.models.items())):
    if _ONLY.value and name not in _ONLY.value:
      continue
    begun = time.monotonic()
    model = ModelConfig(
      vocab_size=tokenizer.vocab_size,
      width=m.width,
      hidden=m.hidden,
      layers=m.layers,
      heads=2,
      kv_heads=1,
      head_width=m.head_width,
      pattern=('local', 'global'),
      window=32,
      attn_softcap=50.0,
      final_softcap=30.0,
    )
    # One pass over a corpus of its own for each model: seeds (config seed, model).
    pairs = dialect.corpus(config.world, config.seed * 1000 + number, m.steps * config.batch)
    rendered = [renderer.example(Example('', prompt, solution)) for prompt, solution in pairs]
    packer = Packer(rendered, batch=config.batch, steps=m.steps, seed=config.seed, row_length=config.row_length)
    schedule = Schedule(m.learning_rate, m.steps, config.warmup, config.final)
    key = jax.random.fold_in(jax.random.key(config.seed), number)
    state = start(model.init(key), optimizer, mesh)
    for step in range(m.steps):
      rate = jnp.float32(schedule(step))
      state, metrics = train_step(state, packer.batch(step), rate, config=model, optimizer=optimizer, mesh=mesh)
      if (step + 1) % 100 == 0:
        logging.info('%s: step %d of %d, loss %.4f', name, step + 1, m.steps, float(metrics.loss))
    source.save_model(workdir / name, model, state.params, tokenizer, jnp.float16)
    seconds = time.monotonic() - begun
    logging.info('%s: %d parameters, %.0f s, in %s', name, model.parameters, seconds, workdir / name)


if __name__ == '__main__':
  flags.mark_flags_as_required(['config', 'workdir'])
  terminal.start(main)
