"""The engine's keys and values of an `OpenDecoder` while it runs."""

from __future__ import annotations

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Int, Key

from sweb_jax.models.decoder import OpenDecoder, Params
from sweb_jax.sampling import decode
from sweb_jax.sampling.chunk import Drawn, Rows, Stops
from sweb_jax.sampling.rule import Rule


class SharedCache:
  """A prefix of all rows, prompts that blocks of rows share, completions: what `decode` takes and gives.

  Args:
    params: on the mesh.
    config: the decoder.
    mesh: slots are split over its `data` and `fsdp` axes.
    prefix_ids: before every prompt; may be empty.
    slots: rows decoded together.
    block: neighbouring slots that share places.
    places: prompts a block can hold.
    prompt_columns: of a place.
    completion_columns: of a slot; whole chunks.
    kernels: whether there are any where the devices are TPUs.
  """

  def __init__(
    self,
    params: Params,
    config: OpenDecoder,
    mesh: Mesh,
    *,
    prefix_ids: Int[np.ndarray, P],
    slots: int,
    block: int,
    places: int,
    prompt_columns: int,
    completion_columns: int,
    kernels: bool,
  ):
    self._kernels = kernels
    self._common = dict(config=config, mesh=mesh)
    self._prefix = decode.prefix(params, prefix_ids, **self._common) if len(prefix_ids) else None
    self._cache = decode.empty(
      slots=slots,
      blocks=slots // block,
      places=places,
      prompt_columns=prompt_columns,
      completion_columns=completion_columns,
      dtype=jax.tree.leaves(params)[0].dtype,
      **self._common,
    )
    self._common |= dict(start=len(prefix_ids), places=places)

  def prefill(self, params: Params, tokens: Int[np.ndarray, 'R L'], targets: Int[np.ndarray, R]) -> None:
    """Computes prompts, padded at the end, each for its place, counted over all blocks."""
    self._cache = decode.prefill(params, self._prefix, self._cache, tokens, targets, **self._common)

  def decode(self, params: Params, rows: Rows, key: Key[Array, ''], stops: Stops, *, steps: int, rule: Rule) -> Drawn:
    """Draws a chunk."""
    how = dict(steps=steps, rule=rule, kernels=self._kernels)
    self._cache, drawn = decode.decode(params, self._prefix, self._cache, rows, key, stops, **how, **self._common)
    return drawn
