"""Small Gemma 3n and 4 of each kind: windows shorter than a row, caps that bite, parts that differ by layer."""

from __future__ import annotations

from sweb_jax.models.gemma4.config import Gemma3n, Gemma4

PATTERN = ('local', 'global')
SMALL = {
  # Global layers have wider heads, and keys that are the values too.
  'dense': Gemma4(97, 48, 80, 2, 4, 2, 16, PATTERN, 6, 4.0, global_head_width=32, keys_are_values=True),
  # Inputs by layer; the last two layers read the keys of the first two.
  'by_layer': Gemma4(
    97, 48, 80, 4, 4, 2, 16, PATTERN, 6, 4.0, global_kv_heads=2, global_head_width=32, per_layer_width=8,
    shared_layers=2, shared_hidden=160,
  ),
  'experts': Gemma4(
    97, 48, 40, 2, 4, 2, 16, PATTERN, 6, 4.0, global_kv_heads=2, global_head_width=32, keys_are_values=True,
    experts=6, chosen_experts=2, expert_hidden=24,
  ),
  'gemma3n': Gemma3n(
    97, 48, 80, 4, 4, 2, 16, PATTERN, 6, 4.0, per_layer_width=8, shared_layers=2, laurel_rank=4,
    sparsity=(0.5, 0.9, 0, 0),
  ),
}  # fmt: skip
