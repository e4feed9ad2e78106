"""What the names in the library's trees of Gemma 3n and 4 mean, beside those that Gemma has too. No JAX.

Experts lie along `fsdp`, as rows of weights do, and along `tensor` what their products sum over: the library puts both
halves of the gates side by side before it multiplies, for which hidden units would have to come from all devices.
"""

from __future__ import annotations

import re

# Name: mesh axis of each dimension. The first match counts.
_AXES = (
  # Factors of adapters, as the weights that they give.
  (r'attn/k_einsum/w/a', ('fsdp', None)),
  (r'attn/k_einsum/w/b', (None, 'tensor', None)),
  (r'mlp/gating_einsum/w/a', ('fsdp',)),
  (r'mlp/gating_einsum/w/b', ('fsdp', None, None, 'tensor')),
  (r'mlp/linear/w/a', ('fsdp', 'tensor', None)),
  (r'mlp/linear/w/b', ('fsdp',)),
  (r'mlp2/gating_einsum/a', (None, 'tensor', None)),
  (r'mlp2/gating_einsum/b', (None, None, 'fsdp')),
  (r'mlp2/linear/a', ('tensor', None)),
  (r'mlp2/linear/b', (None, 'fsdp')),
  (r'linear_left/w/a', ('fsdp', None)),
  (r'linear_right/w/b', (None, 'fsdp')),
  (r'linear_(left|right)/w/[ab]', ()),
  (r'embedder/per_layer_(input_)?embedding', ('tensor', None, 'fsdp')),
  (r'embedder/per_layer_(input|model)_projection/w', ('fsdp', None, 'tensor')),
  (r'per_layer_input_gate/w', ('fsdp', 'tensor')),
  (r'per_layer_projection/w', ('tensor', 'fsdp')),
  (r'attn/k_einsum/w', ('tensor', 'fsdp', None)),
  (r'mlp/router_logits/w', ('fsdp', None)),
  (r'mlp/gating_einsum/w', ('fsdp', None, None, 'tensor')),
  (r'mlp/linear/w', ('fsdp', 'tensor', None)),
  (r'mlp2/gating_einsum', (None, 'tensor', 'fsdp')),
  (r'mlp2/linear', ('tensor', 'fsdp')),
  (r'altup_(unembed_)?projection_', ('fsdp', 'tensor')),
  (r'laurel/linear_left/w', ('fsdp', None)),
  (r'laurel/linear_right/w', (None, 'fsdp')),
)

# Name of a weight: how its two factors give it; each expert has its own.
FACTORS = (
  (r'attn/k_einsum/w$', 'dr,rkh->kdh'),
  (r'mlp/gating_einsum/w$', 'esfr,esrd->esfd'),
  (r'mlp/linear/w$', 'efr,erd->efd'),
  (r'mlp2/gating_einsum$', 'sfr,srd->sfd'),
  (r'mlp2/linear$', 'fr,rd->fd'),
  (r'laurel/linear_(left|right)/w$', 'dr,rf->df'),
)


def axes(name: str, shape: tuple[int, ...]) -> tuple[str | None, ...] | None:
  """Mesh axes of the dimensions of what has this name; None for what is not of these families alone."""
  found = next((axes for pattern, axes in _AXES if re.search(pattern, name)), None)
  return found if found is None else (*found, *[None] * (len(shape) - len(found)))
