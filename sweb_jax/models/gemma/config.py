"""The shape of a Gemma model, and the named sizes.

One dataclass describes Gemma 1, 2 and 3 (text); the fields say in which they differ. Facts: the gemma library's
`gm.nn` classes and the Gemma 2 and 3 technical reports (arXiv 2408.00118, 2503.19786). Budgets and plans need these
facts and no JAX, so the forward pass is imported where it is called.
"""

from __future__ import annotations

import dataclasses
import functools
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal

import pydantic
import pydantic.dataclasses
from pydantic import Field

from sweb_jax.models.decoder import Attention, Params

# Ranges keep every Gemma with room to spare, and what a damaged or hostile file says out: sizes that no memory holds,
# and values with which the forward pass divides by zero.
Size = Annotated[int, Field(ge=1, le=2**24)]
Layers = Annotated[int, Field(ge=1, le=1000)]
Window = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""Positions are int32."""
Cap = Annotated[float, Field(gt=0, le=1e6)]
Base = Annotated[float, Field(ge=1, le=1e12)]
Scale = Annotated[float, Field(ge=1, le=1e6)]
Epsilon = Annotated[float, Field(gt=0, le=0.1)]


@pydantic.dataclasses.dataclass(
  frozen=True, config=pydantic.ConfigDict(strict=True, extra='forbid', allow_inf_nan=False)
)
class ModelConfig:
  """Architecture of one Gemma, and its native `OpenDecoder`.

  Types and ranges of the fields are checked wherever one is made, and a file that gives others is refused by the name
  of the field. Letters in shapes: V vocabulary, D width, F hidden, N heads, K KV heads, H head width.

  Raises:
    ValueError: a field is of the wrong type or out of its range, or two do not fit together.
  """

  implementation: ClassVar[str] = 'native'
  rematerialisations: ClassVar[tuple[str, ...]] = ('none', 'dots', 'full')

  vocab_size: Size
  """V, rows of the (tied) embedding table."""
  width: Size
  """D, width of the residual stream."""
  hidden: Size
  """F, width of the gated feed-forward layer."""
  layers: Annotated[int, Field(ge=0, le=1000)]
  heads: Size
  """N, query heads."""
  kv_heads: Size
  """K, key and value heads; divides `heads`."""
  head_width: Size
  """H."""
  pattern: Annotated[tuple[Literal['local', 'global'], ...], Field(min_length=1, max_length=1000)] = ('global',)
  """Attention of each layer, 'local' or 'global', repeated over the layers."""
  window: Window | None = None
  """Keys a local layer sees, the query's own included."""
  attn_softcap: Cap | None = None
  """Attention logits become cap * tanh(logits / cap) (Gemma 2)."""
  final_softcap: Cap | None = None
  """The same for the output logits (Gemma 2)."""
  post_norms: bool = True
  """RMSNorm also after attention and feed-forward (Gemma 2 and 3)."""
  qk_norm: bool = False
  """RMSNorm on queries and keys (Gemma 3)."""
  query_scale: Annotated[float, Field(gt=0, le=1e3)] | None = None
  """Factor on the queries; None is 1 / sqrt(H). Gemma 2 and 3 27B use 1 / sqrt(D / N)."""
  rope_base: Base = 10_000.0
  """RoPE base of global layers."""
  rope_scale: Scale = 1.0
  """Global positions are divided by it (Gemma 3 from 4B: 8)."""
  local_rope_base: Base = 10_000.0
  transpose_gating: bool = True
  """The gating weights are [2, F, D] in the gemma library's tree (else [2, D, F])."""
  norm_eps: Epsilon = 1e-6

  def __post_init__(self):
    if self.heads % self.kv_heads:
      raise ValueError(f'heads={self.heads} must be a multiple of kv_heads={self.kv_heads}')
    if self.head_width % 2:
      raise ValueError(f'head_width={self.head_width} must be even: RoPE turns it in pairs')
    if 'local' in self.pattern and not self.window:
      raise ValueError('a pattern with local layers needs a window')

  def is_local(self, layer: int) -> bool:
    """Whether layer number `layer` (from 0) attends within the window only."""
    return self.pattern[layer % len(self.pattern)] == 'local'

  @property
  def fused_qkv(self) -> bool:
    """The tree holds one `qkv_einsum` (multi-head attention) instead of `q_einsum` and `kv_einsum`."""
    return self.heads == self.kv_heads

  @property
  def parameters(self) -> int:
    """Number of parameters, the tied embedding counted once."""
    norms = self.width * (4 if self.post_norms else 2) + (2 * self.head_width if self.qk_norm else 0)
    return self.embedding_parameters + self.matrix_parameters + self.layers * norms + self.width

  @property
  def active_parameters(self) -> int:
    """All: every token goes through every weight."""
    return self.parameters

  @property
  def matrix_parameters(self) -> int:
    """Weights of the layers that each token is multiplied with."""
    attention = self.width * self.head_width * (2 * self.heads + 2 * self.kv_heads)
    return self.layers * (attention + 3 * self.width * self.hidden)

  @property
  def embedding_parameters(self) -> int:
    """Of the tied embedding, which is the output layer too."""
    return self.vocab_size * self.width

  @functools.cached_property
  def attention(self) -> tuple[Attention, ...]:
    """Of each layer."""
    windows = (self.window if self.is_local(layer) else None for layer in range(self.layers))
    return tuple(Attention(self.heads, self.kv_heads, self.head_width, window) for window in windows)

  # The forward pass: `decoder.OpenDecoder` says what each does.

  def shapes(self, dtype: Any = 'float32') -> Params:
    return _transformer().shapes(self, dtype)

  def init(self, key: Any, dtype: Any = 'float32') -> Params:
    return _transformer().init(self, key, dtype)

  def forward(self, params: Params, tokens: Any, segment_ids: Any = None, positions: Any = None) -> Any:
    return _transformer().forward(params, self, tokens, segment_ids, positions)

  def hidden_states(self, params, tokens, segment_ids=None, positions=None, *, remat='none', mesh=None) -> Any:
    return _transformer().hidden(params, self, tokens, segment_ids, positions, remat=remat, mesh=mesh)

  def run_blocks(self, params, tokens, positions, attend, *, inference=False, mesh=None, stationary=False) -> Any:
    how = dict(inference=inference, mesh=mesh, stationary=stationary)
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

LATER = 'Gemma 3n and 4 have parts that this forward pass has not (inputs and keys by layer, experts)'
"""Why they are refused, for messages."""


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
