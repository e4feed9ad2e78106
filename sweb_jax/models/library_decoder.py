"""A decoder that the gemma library's modules compute: how they are called, and how they are found. No JAX until then.

Masks and positions are always given, as the library's own take id 0 for padding, also where it is a token. The import
takes some 15 s and 1 GB (TensorFlow and more come along), so it is done when something is to be computed.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from sweb_jax.models import reading
from sweb_jax.models.decoder import Attention, Cache, DecoderError, Params, check_remat

if TYPE_CHECKING:
  from jax.sharding import Mesh
  from jaxtyping import Array, Bool, Float, Int


class LibraryDecoder:
  """The computing half of a `CachedDecoder`. Beside it: the numbers of the architecture, `module`, and `source`."""

  implementation: ClassVar[str] = 'gemma'
  rematerialisations: ClassVar[tuple[str, ...]] = ('none', 'full')
  side_by_side: ClassVar[bool] = False  # The products of experts have no rule for it.

  module: Any
  """The library's flax module. Raises DecoderError."""
  attention: tuple[Attention, ...]
  source: Callable[[int], int]
  """Of a layer: the one whose keys and values it reads, its own or an earlier one's."""

  def check(self) -> None:
    """Raises DecoderError where the library is missing, too old, or cannot express this architecture."""
    import flax
    import jax

    try:  # An old library is found here, and not by what draws or trains.
      block = self.smallest()
      jax.eval_shape(block.hidden_states, block.shapes(), jax.ShapeDtypeStruct((1, 1), 'int32'))
    except (AttributeError, TypeError, LookupError, flax.errors.FlaxError) as e:
      raise unfit(e) from e

  def smallest(self) -> LibraryDecoder:
    """With the fewest layers that show whether the library computes it."""
    return self

  def output_table(self, params: Params) -> Float[Array, 'V D']:
    return params['embedder']['input_embedding']

  def forward(
    self,
    params: Params,
    tokens: Int[Array, 'B L'],
    segment_ids: Int[Array, 'B L'] | None = None,
    positions: Int[Array, 'B L'] | None = None,
  ) -> Float[Array, 'B L V']:
    return self._uncached(self.module, params, tokens, segment_ids, positions).logits.astype('float32')

  def hidden_states(
    self,
    params: Params,
    tokens: Int[Array, 'B L'],
    segment_ids: Int[Array, 'B L'] | None = None,
    positions: Int[Array, 'B L'] | None = None,
    *,
    remat: str = 'none',
    mesh: Mesh | None = None,
  ) -> Float[Array, 'B L D']:
    from flax import linen

    from sweb_jax.models import sharding

    check_remat(self, remat)
    # The module gives logits too. Nobody reads them, so that compiled they are not computed.
    if remat == 'none':
      found = self._uncached(self.module, params, tokens, segment_ids, positions)
    else:
      # Flax traces equal modules once, and this one is traced otherwise: the field says what is the default anyway.
      module = self.module.clone(return_last_only=False)
      with linen.intercept_methods(_recompute_layers):
        found = self._uncached(module, params, tokens, segment_ids, positions)
    return sharding.keep_rows(found.hidden_states, mesh)

  def init_cache(self, rows: int, columns: int, dtype: Any) -> Cache:
    cache = self.module.config.init_cache(batch_size=rows, dtype=dtype, cache_length=columns)
    return {f'layer_{i}': cache[f'layer_{i}'] for i, a in enumerate(self.attention) if a.cached}

  def step(
    self,
    params: Params,
    cache: Cache,
    tokens: Int[Array, 'B L'],
    positions: Int[Array, 'B L'],
    seen: Bool[Array, 'B L T'],
    column: Int[Array, ''],
  ) -> tuple[Cache, Float[Array, 'B V']]:
    import jax.numpy as jnp

    # The library keeps an index a row and reads the first row's for all.
    index = jnp.full(tokens.shape[:1], column, jnp.int32)
    # A layer that reads another's keys is given that one's cache, for its positions.
    given = {
      f'layer_{i}': cache[f'layer_{self.source(i)}'] | {'end_index': index} for i in range(len(self.attention))
    }
    out = self.module.apply({'params': params}, tokens, positions=positions, attention_mask=seen, cache=given)
    return {layer: out.cache[layer] for layer in cache}, out.logits[:, -1]

  def _uncached(self, module, params, tokens, segment_ids, positions):
    import jax.numpy as jnp

    batch, length = tokens.shape
    if positions is None:
      positions = jnp.broadcast_to(jnp.arange(length), tokens.shape)
    seen = jnp.broadcast_to(jnp.tri(length, dtype=bool), (batch, length, length))
    if segment_ids is not None:
      seen &= segment_ids[:, :, None] == segment_ids[:, None, :]
    return module.apply(
      {'params': params}, tokens, positions=positions, attention_mask=seen, return_hidden_states=True
    )


def _recompute_layers(call: Callable[..., Any], args: tuple, kwargs: dict[str, Any], context: Any) -> Any:
  """Of a method of a flax module, called with its arguments: a whole layer is computed again in the backward pass."""
  import jax
  from flax import linen

  module = context.module
  within = isinstance(module.parent, linen.Module)  # Else this is the layer that is called below, by itself.
  if not (within and context.method_name == '__call__' and re.fullmatch(r'layer_\d+', module.name or '')):
    return call(*args, **kwargs)
  layer, variables = module.unbind()

  def computed(variables, args, kwargs):
    return layer.apply(variables, *args, **kwargs)

  return jax.checkpoint(computed)(variables, args, kwargs)


def nn() -> Any:
  """The library's `gm.nn`. Raises DecoderError where it is missing, or does not fit what is installed beside it."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # Of what comes along with it.
      from gemma import gm

      _ = gm.nn.Transformer, gm.nn.config.TransformerConfig  # It imports lazily.
  except Exception as e:  # Packages of versions that do not fit together fail in ways of their own.
    raise unfit(e) from e
  return gm.nn


def unfit(error: Exception) -> DecoderError:
  """What to say of a library that is missing, too old, or not of one piece with the packages beside it."""
  try:
    fault = f'gemma {importlib.metadata.version("gemma")} cannot be used'
  except importlib.metadata.PackageNotFoundError:
    fault = 'the gemma library is not installed'
  minor = sys.version_info.minor
  return DecoderError(
    f'implementation=gemma: {fault} in Python 3.{minor} ({reading.brief(error)}); '
    f'`pip install -c constraints/py3{min(minor, 12)}.txt gemma` installs versions that fit together'
  )
