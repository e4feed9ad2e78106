"""The gemma library's own modules behind the protocol: the reference, with the same parameter tree.

Masks and positions are always given, as the library's own take id 0 for padding, also where it is a token. The import
takes some 15 s and 1 GB (TensorFlow and more come along), so it is done when an implementation is asked for by name.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import sys
import warnings
from typing import Any, ClassVar

import flax
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from sweb_jax.models import reading, sharding
from sweb_jax.models.cached_attention import causal_mask
from sweb_jax.models.decoder import Cache, DecoderError, Params, check_remat
from sweb_jax.models.gemma.config import ModelConfig


class LibraryGemma(ModelConfig):
  """A Gemma as a `CachedDecoder`, computed by `gm.nn.Transformer`. Its fields are those of `ModelConfig`."""

  implementation: ClassVar[str] = 'gemma'
  rematerialisations: ClassVar[tuple[str, ...]] = ('none',)

  @functools.cached_property
  def module(self) -> Any:
    """The library's flax module. Raises DecoderError."""
    return _import().Transformer(config=_library_config(self), dtype=jnp.float32)

  def forward(
    self,
    params: Params,
    tokens: Int[Array, 'B L'],
    segment_ids: Int[Array, 'B L'] | None = None,
    positions: Int[Array, 'B L'] | None = None,
  ) -> Float[Array, 'B L V']:
    return self._uncached(params, tokens, segment_ids, positions).logits.astype(jnp.float32)

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
    check_remat(self, remat)
    # The module gives logits too. Nobody reads them, so that compiled they are not computed.
    return sharding.keep_rows(self._uncached(params, tokens, segment_ids, positions).hidden_states, mesh)

  def init_cache(self, rows: int, columns: int, dtype: Any) -> Cache:
    return self.module.config.init_cache(batch_size=rows, dtype=dtype, cache_length=columns)

  def step(
    self,
    params: Params,
    cache: Cache,
    tokens: Int[Array, 'B L'],
    positions: Int[Array, 'B L'],
    seen: Bool[Array, 'B L T'],
    column: Int[Array, ''],
  ) -> tuple[Cache, Float[Array, 'B V']]:
    # The library keeps an index a row and reads the first row's for all.
    index = jnp.full(tokens.shape[:1], column, jnp.int32)
    cache = {layer: kept | {'end_index': index} for layer, kept in cache.items()}
    out = self.module.apply({'params': params}, tokens, positions=positions, attention_mask=seen, cache=cache)
    return out.cache, out.logits[:, -1]

  def _uncached(self, params, tokens, segment_ids, positions):
    batch, length = tokens.shape
    if positions is None:
      positions = jnp.broadcast_to(jnp.arange(length), tokens.shape)
    seen = jnp.broadcast_to(causal_mask(length), (batch, length, length))
    if segment_ids is not None:
      seen &= segment_ids[:, :, None] == segment_ids[:, None, :]
    return self.module.apply(
      {'params': params}, tokens, positions=positions, attention_mask=seen, return_hidden_states=True
    )


def of(config: ModelConfig) -> LibraryGemma:
  """The architecture as the library computes it.

  Raises:
    DecoderError: the library is not there, or cannot express this architecture.
  """
  decoder = LibraryGemma(**{f.name: getattr(config, f.name) for f in dataclasses.fields(config)})
  block = dataclasses.replace(decoder, layers=1)
  try:  # An old library is found here, and not by what draws or trains.
    jax.eval_shape(block.hidden_states, block.shapes(), jax.ShapeDtypeStruct((1, 1), jnp.int32))
  except (AttributeError, TypeError, LookupError, flax.errors.FlaxError) as e:
    raise _unfit(e) from e
  return decoder


def _library_config(config: ModelConfig) -> Any:
  """The library's `TransformerConfig` of the same architecture. Raises DecoderError."""
  nn = _import()
  if config.norm_eps != 1e-6:
    raise DecoderError(f'implementation=gemma: norm_eps={config.norm_eps:g}, and the gemma library has 1e-06 only')
  kinds = {'local': nn.AttentionType.LOCAL_SLIDING, 'global': nn.AttentionType.GLOBAL}
  return nn.config.TransformerConfig(
    num_embed=config.vocab_size,
    embed_dim=config.width,
    hidden_dim=config.hidden,
    num_heads=config.heads,
    head_dim=config.head_width,
    num_kv_heads=config.kv_heads,
    final_logit_softcap=config.final_softcap,
    attn_logits_soft_cap=config.attn_softcap,
    use_post_attn_norm=config.post_norms,
    use_post_ffw_norm=config.post_norms,
    attention_types=tuple(kinds['local' if config.is_local(layer) else 'global'] for layer in range(config.layers)),
    query_pre_attn_norm=_query_scale(config, nn.config.QueryPreAttentionNormalisation),
    sliding_window_size=config.window,
    transpose_gating_einsum=config.transpose_gating,
    use_qk_norm=config.qk_norm,
    local_base_frequency=config.local_rope_base,
    global_base_frequency=config.rope_base,
    global_scale_factor=config.rope_scale,
  )


def _query_scale(config: ModelConfig, names: Any) -> Any:
  """The library's name of the factor on the queries, of which it has two, its D / N rounded down."""
  factors = {
    config.head_width**-0.5: names.BY_ONE_OVER_SQRT_HEAD_DIM,
    (config.width // config.heads) ** -0.5: names.BY_ONE_OVER_SQRT_EMBED_DIM_DIV_NUM_HEADS,
  }
  if config.query_scale is None:
    return names.BY_ONE_OVER_SQRT_HEAD_DIM
  nearest = min(factors, key=lambda factor: abs(factor - config.query_scale))
  if abs(nearest - config.query_scale) > 1e-6 * nearest:
    raise DecoderError(
      f'implementation=gemma: query_scale={config.query_scale:.6g}, and the gemma library has 1 / sqrt(H) and '
      f'1 / sqrt(D / N) only, here {" and ".join(f"{f:.6g}" for f in factors)}; use implementation=native'
    )
  return factors[nearest]


def _import() -> Any:
  """The library's `gm.nn`. Raises DecoderError where it is missing, or does not fit what is installed beside it."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # Of what comes along with it.
      from gemma import gm

      _ = gm.nn.Transformer, gm.nn.config.TransformerConfig  # It imports lazily.
  except Exception as e:  # Packages of versions that do not fit together fail in ways of their own.
    raise _unfit(e) from e
  return gm.nn


def _unfit(error: Exception) -> DecoderError:
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
