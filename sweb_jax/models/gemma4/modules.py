"""The gemma library's flax modules of Gemma 3n and Gemma 4, for any of our shapes.

A config of the library's is made from that of one of its sizes, so that only public names are used, and what our shapes
do not tell stays as the library has it.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import sys
from typing import Any

from sweb_jax.models import library_decoder
from sweb_jax.models.decoder import DecoderError
from sweb_jax.models.gemma4.gemma3n import Gemma3nShape
from sweb_jax.models.gemma4.gemma4 import Gemma4Shape
from sweb_jax.models.gemma4.shape import Layered


def gemma4(c: Gemma4Shape) -> Any:
  """The module of a Gemma 4. Raises DecoderError where the library is missing or too old."""
  size = _size('Gemma4_E2B')
  config = _config(
    c, size,
    num_global_kv_heads=c.global_kv_heads,
    global_key_size=c.global_head_width,
    k_eq_v_global=c.keys_are_values,
    global_rope_proportion=c.global_rope_share,
    override_kv_shared_ffw_hidden=c.shared_hidden,
    enable_moe=bool(c.experts),
    num_experts=c.experts,
    expert_dim=c.expert_hidden,
    top_k_experts=c.chosen_experts,
    moe_dense_hidden_dim=c.hidden if c.experts else 0,
    audio_encoder=None,
  )  # fmt: skip
  return size(config=config, dtype='float32')


def gemma3n(c: Gemma3nShape) -> Any:
  """The module of a Gemma 3n. Raises DecoderError where the library is missing or too old."""
  size = _size('Gemma3n_E2B')
  config = _config(
    c, size,
    altup_coef_clip=c.coefficient_clip,
    laurel_rank=c.laurel_rank,
    activation_sparsity_pattern=c.sparsity or None,
  )  # fmt: skip
  return size(config=config, dtype='float32')


def _config(c: Layered, size: Any, **own: Any) -> Any:
  """The config of one of the library's sizes with our numbers; `own` are those of the family."""
  theirs = size.config
  kinds = {kind.name: kind for kind in type(theirs.attention_types[0])}
  sharing = dataclasses.replace(theirs.kv_cache_sharing_config, frac_shared_layers=_fraction(c))
  return dataclasses.replace(
    theirs,
    num_embed=c.vocab_size,
    embed_dim=c.width,
    hidden_dim=c.hidden,
    num_heads=c.heads,
    head_dim=c.head_width,
    num_kv_heads=c.kv_heads,
    final_logit_softcap=c.final_softcap,
    attention_types=tuple(kinds['LOCAL_SLIDING' if c.is_local(i) else 'GLOBAL'] for i in range(c.layers)),
    sliding_window_size=c.window,
    local_base_frequency=c.local_rope_base,
    global_base_frequency=c.rope_base,
    per_layer_input_dim=c.per_layer_width,
    kv_cache_sharing_config=sharing if c.shared_layers else None,
    vision_encoder=None,
    **own,
  )


def _fraction(c: Layered) -> float:
  """What the library takes for the number of shared layers, which it rounds: a quarter of a layer is to spare."""
  return (c.shared_layers - 0.25) / c.layers


def _size(name: str) -> Any:
  gm_nn = library_decoder.nn()
  try:
    return getattr(gm_nn, name)
  except (AttributeError, ImportError) as e:
    family = {'Gemma4': 'Gemma 4', 'Gemma3n': 'Gemma 3n'}[name.partition('_')[0]]
    raise DecoderError(
      f'{family} is computed by the gemma library 4.0.1 or later, which needs Python 3.12 or later; here are gemma '
      f'{importlib.metadata.version("gemma")} and Python 3.{sys.version_info.minor}: in an environment of Python 3.12, '
      '`pip install -c constraints/py312.txt -e .`'
    ) from e
