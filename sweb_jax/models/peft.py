"""Low-rank adapters (LoRA, arXiv 2106.09685) in the layout of the `peft` library, out of two models.

A study keeps a learner with its adapters merged in. Its difference from the base is, matrix by matrix, of the rank that
was trained, up to rounding, so that the adapters are found again from the two: their product is that difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import jax
import numpy as np
from etils import epath
from jaxtyping import Float

from sweb_jax.models import checkpoint, families, tensor_file
from sweb_jax.models.decoder import Decoder, Params
from sweb_jax.models.reading import CheckpointError
from sweb_jax.runtime import files

WEIGHTS, CONFIG = 'adapter_model.safetensors', 'adapter_config.json'
MAX_RANK = 256
"""Of adapters that are sought; a difference of a higher rank was not trained as adapters."""

_PREFIX = 'base_model.model.'
_ROUNDING = 32
"""Rounding errors of a merged weight that a difference of no rank may have, in units of its last place."""


def save(folder: epath.Path, config: Decoder, base: Params, tuned: Params, source: str) -> int:
  """Writes the adapters that lead from one model to the other; returns their rank.

  Args:
    folder: made where it is missing.
    config: the architecture of both.
    base: parameters, float32.
    tuned: the same after training, with the adapters merged in.
    source: what `peft` shall load the base from.

  Raises:
    CheckpointError: a parameter differs that is no projection, or by more than a low rank, or none differs.
  """
  found = dict(_factors(config, base, tuned))
  if not found:
    raise CheckpointError(f'{source}: the model and its base are the same; there are no adapters')
  rank = max(a.shape[0] for a, _ in found.values())
  folder.mkdir(parents=True, exist_ok=True)
  tensors = {}
  for name, (a, b) in found.items():
    short = rank - a.shape[0]
    tensors[f'{name}.lora_A.weight'] = np.pad(a, ((0, short), (0, 0)))
    tensors[f'{name}.lora_B.weight'] = np.pad(b, ((0, 0), (0, short)))
  names = sorted(tensors)
  layout = {f'{_PREFIX}{n}': (tensors[n].dtype, tensors[n].shape) for n in names}
  tensor_file.write(folder / WEIGHTS, layout, ((f'{_PREFIX}{n}', tensors[n]) for n in names))
  said = {'peft_type': 'LORA', 'task_type': 'CAUSAL_LM', 'base_model_name_or_path': source, 'inference_mode': True}
  said |= {'r': rank, 'lora_alpha': rank, 'lora_dropout': 0.0, 'bias': 'none', 'fan_in_fan_out': False}
  # Full names: an adapted layer may stand beside one that is not.
  files.write_json(folder / CONFIG, said | {'target_modules': sorted(found)})
  return rank


def merge(folder: epath.Path, config: Decoder, base: Params) -> Params:
  """The base with the adapters of a folder that `save` wrote merged in. Raises CheckpointError."""
  family = families.huggingface(config)
  stored = {n.removeprefix(_PREFIX): e for n, e in tensor_file.entries(folder / WEIGHTS).items()}

  def merged(path, x):
    name = checkpoint.path_name(path)
    tensors = family.tensors(name, np.asarray(x, np.float32), config)

    def read(tensor: str) -> np.ndarray:
      module = tensor.removesuffix('.weight')
      if (a := stored.get(f'{module}.lora_A.weight')) is None:
        return tensors[tensor]
      return tensors[tensor] + stored[f'{module}.lora_B.weight'].read() @ a.read()

    return jax.numpy.asarray(family.parameter(name, read, config))

  return jax.tree.map_with_path(merged, base)


def _factors(
  config: Decoder, base: Params, tuned: Params
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
  """(Hugging Face's name of a projection, its two factors) of each that differs."""
  family = families.huggingface(config)
  before = {checkpoint.path_name(path): x for path, x in jax.tree.leaves_with_path(base)}
  for path, x in jax.tree.leaves_with_path(tuned):
    name = checkpoint.path_name(path)
    after, was = (np.asarray(w, np.float32) for w in (x, before[name]))
    if np.array_equal(after, was):
      continue
    difference = family.tensors(name, after - was, config)
    whole: Mapping[str, np.ndarray] = family.tensors(name, np.maximum(abs(after), abs(was)), config)
    for tensor, delta in difference.items():
      if not delta.any():
        continue
      if not tensor.endswith('_proj.weight'):
        raise CheckpointError(f'{tensor} was trained too, and is no projection: convert the whole model')
      rounding = _ROUNDING * np.finfo(np.float32).eps * float(whole[tensor].max())
      yield tensor.removesuffix('.weight'), _factor(tensor, delta, rounding)


def _factor(
  name: str, delta: Float[np.ndarray, 'O I'], rounding: float
) -> tuple[Float[np.ndarray, 'R I'], Float[np.ndarray, 'O R']]:
  """A and B with B A = delta, but for errors of an element of about `rounding`.

  A random projection finds the columns' space (Halko et al. 2011, arXiv 0909.4061), which is exact for a matrix of low
  rank. Raises CheckpointError where `delta` is of a higher rank than MAX_RANK.
  """
  outputs, inputs = delta.shape
  width = min(MAX_RANK + 8, outputs, inputs)
  mixed = delta @ np.random.default_rng(0).standard_normal((inputs, width)).astype(np.float32)
  space, _ = np.linalg.qr(mixed)
  left, size, right = np.linalg.svd(space.T @ delta, full_matrices=False)
  # What rounding alone gives: a random matrix of such errors is about as large (Vershynin 2012, arXiv 1011.3027).
  kept = size > rounding / _ROUNDING * (np.sqrt(outputs) + np.sqrt(inputs))
  rank = max(1, int(kept.sum()))
  root = np.sqrt(size[:rank])
  a, b = root[:, None] * right[:rank], (space @ left[:, :rank]) * root
  if rank > MAX_RANK or abs(delta - b @ a).max() > rounding:
    raise CheckpointError(
      f'{name}: differs from the base by more than adapters of rank {MAX_RANK} give: all its weights were trained; '
      'convert the whole model'
    )
  return a.astype(np.float32), b.astype(np.float32)
