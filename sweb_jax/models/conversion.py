"""From one form of a model to another, with a check that both compute the same."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Float, Int

from sweb_jax.models import families, huggingface, peft, sharding
from sweb_jax.models.decoder import Decoder, Params
from sweb_jax.models.reading import CheckpointError
from sweb_jax.models.source import Model, open_model, save_model
from sweb_jax.models.tokenizer import Tokenizer
from sweb_jax.runtime import files

FORMATS = ('hf', 'orbax', 'peft', 'gguf')
TOLERANCE = 2e-4
"""Largest difference of a logit that passes. Nothing is rounded on the way, so 0 is usual."""
TEXTS = (
  'Natalia had 12 apples and gave 5 to each of her 2 friends. How many are left?\nAnswer:',
  'def add(a, b):\n    return a +  b\n\n\n# Runs of   spaces\tand unseen characters: ß 数 🙂',
)
"""The fixed prompts; a row of ids spread over the vocabulary goes with them."""


@dataclasses.dataclass(frozen=True)
class Comparison:
  """What two models make of the same prompts."""

  largest: float
  """Largest difference of a logit."""
  divergence: float
  """Kullback-Leibler divergence of the second from the first, in nats, mean over the positions."""


def convert(
  source: str,
  to: epath.PathLike,
  form: str,
  *,
  chat: bool = False,
  base: str = '',
  kind: str = 'F32',
  shard_bytes: int = huggingface.SHARD_BYTES,
) -> Comparison:
  """Writes a model in another form, reads it back and compares.

  Parameters keep the type they are stored in (those of a GGUF file become float32) and lie on all devices there are;
  the host holds one at a time.

  Args:
    source: as `open_model` takes it.
    to: the folder to write, or the *.gguf file; it must not exist. It appears when everything is written and compared.
    form: of `FORMATS`: Hugging Face directory, model folder of this project, adapters alone, or GGUF file.
    chat: 'hf', 'gguf': with the template of chat turns, whose end also ends a text.
    base: 'peft': what the model was before it was trained, as `open_model` takes it.
    kind: 'gguf': type of the matrices, of `gguf_file.KINDS`. What was written is compared with parameters that
      were rounded to it; the result says how far the model is from what it was.
    shard_bytes: 'hf': largest safetensors file.

  Raises:
    CheckpointError: the source cannot be read, the target exists or cannot express the model, or the two differ.
    TokenizerError: the vocabulary cannot be read or written.
  """
  to = epath.Path(to)
  if to.exists():
    raise CheckpointError(f'{to}: is there already; name a {"file" if form == "gguf" else "folder"} that is not')
  if (form == 'gguf') != (to.suffix == '.gguf'):
    raise CheckpointError(f'{to}: a GGUF is a file whose name ends in .gguf, and other forms are folders')
  model = open_model(source)
  mesh = sharding.make_mesh(fsdp=len(jax.devices()))
  params = model.load(mesh, None)
  if form == 'gguf':
    writer = families.gguf_writer(model.config)
    config, params = writer.without_spare_rows(model.config, params, model.tokenizer.vocab_size)
    model = dataclasses.replace(model, config=config)
  expected = _logits(model, params)
  partial = to.with_name(f'{to.stem}.partial{to.suffix}')
  files.remove(partial)
  try:
    if form == 'peft':
      found = wrong = compare(expected, _write_adapters(partial, model, params, base))
    elif form == 'gguf':
      found, wrong = _write_gguf(partial, model, params, kind, chat, expected)
    else:
      if form == 'hf':
        huggingface.save(partial, model.config, params, model.tokenizer, chat=chat, shard_bytes=shard_bytes)
      else:
        save_model(partial, model.config, params, model.tokenizer)
      del params
      written = open_model(str(partial))
      _check_alike(model, written, f'{to}: came out', 'it was not kept')
      found = wrong = compare(expected, _logits(written, written.load(mesh, None)))
    if not wrong.largest <= TOLERANCE:
      raise CheckpointError(
        f'{to}: its logits differ from those of {source} by up to {wrong.largest:.3g} '
        f'(KL {wrong.divergence:.3g} nats); it was not kept'
      )
    partial.rename(to)
  finally:
    files.remove(partial)
  return found


def _write_gguf(
  file: epath.Path,
  model: Model,
  params: Params,
  kind: str,
  chat: bool,
  expected: Float[np.ndarray, 'N V'],
) -> tuple[Comparison, Comparison]:
  """Writes a GGUF file; returns how far it is from the model, and from the model with rounded parameters."""
  writer = families.gguf_writer(model.config)
  writer.save(file, model.config, params, model.tokenizer, kind, chat=chat)
  written = open_model(str(file))
  if (pieces := written.tokenizer.pieces()) != model.tokenizer.pieces() or any(
    written.tokenizer.encode(text) != model.tokenizer.encode(text) for text in TEXTS
  ):
    raise CheckpointError(f'{file}: its {len(pieces)} pieces read texts otherwise; it was not kept')
  # The vocabulary is rebuilt from the pieces: other bytes of the same tokenizer.
  _check_alike(model, dataclasses.replace(written, tokenizer=model.tokenizer), f'{file}: came out', 'it was not kept')
  back = _logits(written, written.load(sharding.make_mesh(fsdp=len(jax.devices())), None))
  return compare(expected, back), compare(_logits(model, writer.rounded(model.config, params, kind)), back)


def _write_adapters(
  folder: epath.Path, model: Model, params: Params, base: str
) -> Float[np.ndarray, 'N V']:
  """Writes the adapters that lead from `base` to the model; returns the logits of the base with them."""
  origin = open_model(base)
  _check_alike(model, origin, f'{base}: is no base of it', 'name the model that was trained')
  before = origin.load(sharding.make_mesh(fsdp=len(jax.devices())), None)
  peft.save(folder, model.config, before, params, base)
  return _logits(model, peft.merge(folder, model.config, before))


def _check_alike(model: Model, other: Model, what: str, advice: str) -> None:
  fields = families.differing(model.config, other.config)
  if fields or other.tokenizer != model.tokenizer:
    raise CheckpointError(f'{what}, with another {", ".join(fields) or "tokenizer"}; {advice}')


def compare(expected: Float[np.ndarray, 'N V'], found: Float[np.ndarray, 'N V']) -> Comparison:
  """Largest difference and KL divergence of logits."""
  p, q = (x - np.logaddexp.reduce(x, axis=-1, keepdims=True) for x in (expected, found))
  return Comparison(float(np.abs(expected - found).max()), float((np.exp(p) * (p - q)).sum(-1).mean()))


def prompts(config: Decoder, tokenizer: Tokenizer) -> list[list[int]]:
  """Ids of the fixed prompts, BOS first."""
  spread = np.random.default_rng(0).integers(0, config.vocab_size, 48).tolist()
  return [[tokenizer.bos_id, *ids] for ids in (*map(tokenizer.encode, TEXTS), spread)]


def _logits(model: Model, params: Params) -> Float[np.ndarray, 'N V']:
  """Of every position of the fixed prompts, one after the other."""
  rows = [_forward(params, model.config, jnp.asarray([ids])) for ids in prompts(model.config, model.tokenizer)]
  return np.concatenate([np.asarray(x, np.float32) for x in rows])


@functools.partial(jax.jit, static_argnames='config')
def _forward(params: Params, config: Decoder, tokens: Int[jax.Array, '1 L']) -> Float[jax.Array, 'L V']:
  with jax.default_matmul_precision('highest'):
    return config.forward(params, tokens)[0]
