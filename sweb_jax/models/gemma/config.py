"""The shape of a Gemma model, and the named sizes.

One dataclass describes Gemma 1, 2 and 3 (text); the fields say in which they differ. Facts: the gemma library's
`gm.nn` classes and the Gemma 2 and 3 technical reports (arXiv 2408.00118, 2503.19786). Budgets and plans need these
facts and no JAX, so the forward pass is imported where it is called.
"""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any, ClassVar

import pydantic.dataclasses

from sweb_jax.models.decoder import Params
from sweb_jax.models.gemma.shape import STRICT, Shape


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class ModelConfig(Shape):
  """Architecture of one Gemma, and its native `OpenDecoder`. Raises ValueError as `Shape` does."""

  implementation: ClassVar[str] = 'native'
  rematerialisations: ClassVar[tuple[str, ...]] = ('none', 'dots', 'full')
  side_by_side: ClassVar[bool] = True

  # `decoder.OpenDecoder` says what each does.

  def check(self) -> None:
    """JAX is there: the package needs it."""

  def shapes(self, dtype: Any = 'float32') -> Params:
    return _transformer().shapes(self, dtype)

  def init(self, key: Any, dtype: Any = 'float32') -> Params:
    return _transformer().init(self, key, dtype)

  def forward(self, params: Params, tokens: Any, segment_ids: Any = None, positions: Any = None) -> Any:
    return _transformer().forward(params, self, tokens, segment_ids, positions)

  def hidden_states(self, params, tokens, segment_ids=None, positions=None, *, remat='none', mesh=None) -> Any:
    return _transformer().hidden(params, self, tokens, segment_ids, positions, remat=remat, mesh=mesh)

  def prepared(self, params: Params) -> Params:
    from sweb_jax.models.gemma import norms

    return norms.prepared(params)

  def run_blocks(self, params, tokens, positions, attend, **how: Any) -> Any:
    return _transformer().run_blocks(params, self, tokens, positions, attend, **how)

  def logits(self, params: Params, x: Any) -> Any:
    return _transformer().logits(params, self, x)

  def output_table(self, params: Params) -> Any:
    return params['embedder']['input_embedding']


def _transformer() -> ModuleType:
  from sweb_jax.models.gemma import transformer

  return transformer


_GEMMA2 = dict(pattern=('local', 'global'), window=4096, attn_softcap=50.0, final_softcap=30.0)
_GEMMA3 = dict(pattern=('local',) * 5 + ('global',), qk_norm=True, rope_base=1_000_000.0)

# name: architecture. Rows as in the gemma library; Gemma 1, which it no longer has, from arXiv 2403.08295.
SIZES = {
  'gemma_2b': ModelConfig(256_128, 2048, 16_384, 18, 8, 1, 256, post_norms=False, transpose_gating=False),
  'gemma_7b': ModelConfig(256_128, 3072, 24_576, 28, 16, 16, 256, post_norms=False, transpose_gating=False),
  'gemma2_2b': ModelConfig(256_128, 2304, 9216, 26, 8, 4, 256, transpose_gating=False, **_GEMMA2),
  'gemma2_9b': ModelConfig(256_128, 3584, 14_336, 42, 16, 8, 256, **_GEMMA2),
  'gemma2_27b': ModelConfig(256_128, 4608, 36_864, 46, 32, 16, 128, query_scale=(4608 / 32) ** -0.5, **_GEMMA2),
  'gemma3_270m': ModelConfig(262_144, 640, 2048, 18, 4, 1, 256, window=512, **_GEMMA3),
  'gemma3_1b': ModelConfig(262_144, 1152, 6912, 26, 4, 1, 256, window=512, **_GEMMA3),
  'gemma3_4b': ModelConfig(262_144, 2560, 10_240, 34, 8, 4, 256, window=1024, rope_scale=8.0, **_GEMMA3),
  'gemma3_12b': ModelConfig(262_144, 3840, 15_360, 48, 16, 8, 256, window=1024, rope_scale=8.0, **_GEMMA3),
  'gemma3_27b': ModelConfig(
    262_144, 5376, 21_504, 62, 32, 16, 128, window=1024, rope_scale=8.0, query_scale=(5376 / 32) ** -0.5, **_GEMMA3
  ),
}


def named_size(config: ModelConfig) -> str | None:
  """The name of the size this is, rows of the embedding and the order of the gating weights aside; None: none."""
  for name, size in SIZES.items():
    if dataclasses.replace(size, vocab_size=config.vocab_size, transpose_gating=config.transpose_gating) == config:
      return name
  return None


def transposed_gating(config: ModelConfig) -> bool:
  """`transpose_gating` as the gemma library has it for a model of this shape, which other formats do not tell."""
  name = named_size(config)
  return SIZES[name].transpose_gating if name else config.post_norms  # No Gemma 1 has it.


def differing(a: ModelConfig, b: ModelConfig) -> list[str]:
  """Fields in which two architectures compute differently. The order of the gating weights is a matter of the form."""
  spread = {'pattern': [[c.is_local(i) for i in range(c.layers)] for c in (a, b)]}
  pairs = {f.name: [getattr(a, f.name), getattr(b, f.name)] for f in dataclasses.fields(a)} | spread
  pairs['query_scale'] = [c.head_width**-0.5 if c.query_scale is None else c.query_scale for c in (a, b)]
  for base, local in (('rope_base', False), ('local_rope_base', True)):
    if all((not local) in s and local not in s for s in spread['pattern']):
      del pairs[base]  # No layer has it.
  if not any(spread['pattern'][0]):
    del pairs['window']
  return [name for name, (x, y) in pairs.items() if x != y and name != 'transpose_gating']


def facts(c: ModelConfig) -> dict[str, str]:
  """What an architecture is, for people: name to text."""
  version = 'Gemma 3' if c.qk_norm else 'Gemma 2' if c.post_norms else 'Gemma 1'
  local = [c.is_local(layer) for layer in range(c.layers)]
  caps = f'attention cap {c.attn_softcap}, final cap {c.final_softcap}, '
  scale = c.head_width**-0.5 if c.query_scale is None else c.query_scale
  return {
    'architecture': f'{version}, {named_size(c) or "of no named size"}',
    'layers': f'{c.layers}, {sum(local)} of them local' + (f' with a window of {c.window}' if any(local) else ''),
    'shape': f'width {c.width}, hidden {c.hidden}, {c.heads} heads of {c.head_width}, {c.kv_heads} for keys',
    'attention': f'{caps}query scale {scale:.6g}, RoPE base {c.rope_base:g} / scale {c.rope_scale:g}',
  }
