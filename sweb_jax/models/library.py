"""Gemma 1, 2 and 3 as the gemma library's own modules compute them: the reference, with the same parameter tree."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from sweb_jax.models.decoder import DecoderError
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.models.library_decoder import LibraryDecoder, nn


class LibraryGemma(LibraryDecoder, ModelConfig):
  """A Gemma as a `CachedDecoder`, computed by `gm.nn.Transformer`. Its fields are those of `ModelConfig`."""

  def source(self, layer: int) -> int:
    """Every layer has keys of its own."""
    return layer

  @functools.cached_property
  def module(self) -> Any:
    """The library's flax module. Raises DecoderError."""
    return nn().Transformer(config=_library_config(self), dtype='float32')

  def smallest(self) -> LibraryGemma:
    return self.shortened(1)  # All layers are alike.


def of(config: ModelConfig) -> LibraryGemma:
  """The architecture as the library computes it.

  Raises:
    DecoderError: the library is not there, or cannot express this architecture.
  """
  decoder = LibraryGemma(**{f.name: getattr(config, f.name) for f in dataclasses.fields(config)})
  decoder.check()
  return decoder


def _library_config(config: ModelConfig) -> Any:
  """The library's `TransformerConfig` of the same architecture. Raises DecoderError."""
  gm_nn = nn()
  if config.norm_eps != 1e-6:
    raise DecoderError(f'implementation=gemma: norm_eps={config.norm_eps:g}, and the gemma library has 1e-06 only')
  kinds = {'local': gm_nn.AttentionType.LOCAL_SLIDING, 'global': gm_nn.AttentionType.GLOBAL}
  return gm_nn.config.TransformerConfig(
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
    query_pre_attn_norm=_query_scale(config, gm_nn.config.QueryPreAttentionNormalisation),
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
