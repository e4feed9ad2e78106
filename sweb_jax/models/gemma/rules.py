"""What the names in the gemma library's tree mean: where a parameter lives, and how an adapter gives it. No JAX.

A name is a path, as 'layer_0/mlp/linear'. What belongs to a parameter (its moments in an optimiser's state, the
factors of its adapter) has the parameter's name within its own.
"""

from __future__ import annotations

import re

# Name: mesh axis of each dimension. The first match counts.
_AXES = (
  # Factors of adapters, as the weights that they give.
  (r'attn/q_einsum/w/a', ('fsdp', None)),
  (r'attn/q_einsum/w/b', (None, 'tensor', None)),
  (r'attn/q?kv_einsum/w/a', (None, 'fsdp', None)),
  (r'attn/q?kv_einsum/w/b', (None, None, 'tensor', None)),
  (r'attn/attn_vec_einsum/w/a', ('tensor', None, None)),
  (r'mlp/gating_einsum/a', (None, 'tensor', None)),
  (r'mlp/gating_einsum/b', (None, None, 'fsdp')),
  (r'mlp/linear/a', ('tensor', None)),
  (r'(attn_vec_einsum/w|linear)/b', (None, 'fsdp')),
  (r'embedder/input_embedding', ('tensor', 'fsdp')),
  (r'attn/q_einsum/w', ('tensor', 'fsdp', None)),
  (r'attn/kv_einsum/w', (None, 'tensor', 'fsdp', None)),
  (r'attn/qkv_einsum/w', (None, 'tensor', 'fsdp', None)),
  (r'attn/attn_vec_einsum/w', ('tensor', None, 'fsdp')),
  (r'mlp/gating_einsum', (None, 'tensor', 'fsdp')),
  (r'mlp/linear', ('tensor', 'fsdp')),
)

# Name of a weight: how its two factors give it. The rank is r; what else a weight's matrix is, its input or its output,
# stands in one factor as a whole, so that the heads of a projection share the rank.
FACTORS = (
  (r'attn/q_einsum/w$', 'dr,rnh->ndh'),
  (r'attn/q?kv_einsum/w$', 'sdr,srnh->sndh'),
  (r'attn/attn_vec_einsum/w$', 'nhr,rd->nhd'),
  (r'mlp/gating_einsum$', 'sfr,srd->sfd'),
  (r'mlp/linear$', 'fr,rd->fd'),
)


_NOT_TEXT = ('vision_encoder/', 'audio_encoder/', 'SigLiPFromPatches_0/', 'embedder/mm_', 'embedder/audio_')
"""Beginnings of the names of parameters that read images and sound."""


def axes(name: str, shape: tuple[int, ...]) -> tuple[str | None, ...]:
  """Mesh axes of the dimensions of what has this name; () for what is small or unknown, and is whole everywhere."""
  found = next((axes for pattern, axes in _AXES if re.search(pattern, name)), ())
  if name.endswith('gating_einsum') and len(shape) == 3 and shape[1] < shape[2]:
    return None, 'fsdp', 'tensor'  # Of the sizes that have [2, D, F]; F is the larger in all of them.
  return found


def stored_name(name: str, shape: tuple[int, ...]) -> str:
  """The name in the tree of what an Orbax folder of the library or of Kaggle calls so; '' for what reads no text."""
  # Kaggle's flat form has 'transformer/layer_0/mlp/linear' for a key, with 'w' below it. Those of experts, of one
  # dimension more, have a 'w' by themselves.
  name = name.removeprefix('transformer/').removeprefix('params/')
  if len(shape) == (2 if name.endswith('/linear/w') else 3):
    name = re.sub(r'(/mlp2?/(linear|gating_einsum))/w$', r'\1', name)
  return '' if name.startswith(_NOT_TEXT) else name
