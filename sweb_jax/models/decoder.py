"""What the rest of the project knows of a model: a small hashable description that computes.

`Decoder` is what training, budgets and checkpoints need. Drawing needs one of its two kinds: an `OpenDecoder` leaves
attention to its caller, so that the engine can share prompts between rows; a `CachedDecoder` keeps a cache of its own.
A family of models is a folder beside this module, with a config that is a decoder by itself (its native
implementation), and rules of its parameters' names; `families` and `rules` are where a family is made known. This
module imports neither a family nor JAX.

Letters in shapes: B batch, L length, T keys, V vocabulary, D width, N heads, K KV heads, H head width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
  from jax.sharding import Mesh
  from jaxtyping import Array, Bool, Float, Int, Key

  from sweb_jax.models.cached_attention import Attend

Params = Mapping[str, Any]
"""Parameters: a tree of arrays, all of one dtype, each known by its name, as 'layer_0/mlp/linear'."""

Cache = Any
"""Of a `CachedDecoder`: a tree of arrays; the first dimension is the row, the second, if any, the column."""

IMPLEMENTATIONS = ('native', 'gemma')
"""'native': this project's own forward pass. 'gemma': the modules of the gemma library."""


class DecoderError(ValueError):
  """What an implementation cannot compute, or a library that is not there; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Attention:
  """What one layer's attention multiplies and keeps."""

  heads: int
  """N, query heads."""
  kv_heads: int
  """K, key and value heads."""
  head_width: int
  """H."""
  window: int | None = None
  """Keys a query sees, its own included; None: all before it."""
  cached: bool = True
  """It keeps keys and values; else it reads those of an earlier layer."""


class Decoder(Protocol):
  """A model's architecture in one implementation. Equal ones compute the same, by the same programs."""

  vocab_size: int
  """V."""
  width: int
  """D."""
  layers: int
  parameters: int
  """All of them, a tied embedding once."""
  active_parameters: int
  """Those that one token has to do with: of experts the chosen ones, of tables that are only looked up none."""
  matrix_parameters: int
  """Weights of the layers that each token is multiplied with: no norms, no embeddings, of experts the chosen ones."""
  embedding_parameters: int
  """Weights of the output layer."""
  attention: tuple[Attention, ...]
  """Of each layer: what it costs, and what a cache holds."""
  final_softcap: float | None
  """Output logits are cap * tanh(logits / cap); None: they stay."""
  implementation: str
  """Of `IMPLEMENTATIONS`."""
  rematerialisations: tuple[str, ...]
  """Names of what the backward pass can recompute instead of keeping it: of 'none', 'dots', 'full'."""
  side_by_side: bool
  """Whether `jax.vmap` over parameters works, so that several are trained in one program."""

  def check(self) -> None:
    """Raises DecoderError where what computes this is not installed. A plan does without."""

  def shortened(self, layers: int) -> Self:
    """The same with fewer layers, of as many kinds as so few can be of: what is compiled to learn of all."""

  def shapes(self, dtype: Any = 'float32') -> Params:
    """The tree of `jax.ShapeDtypeStruct` that `init` would give, without any memory."""

  def init(self, key: Key[Array, ''], dtype: Any = 'float32') -> Params:
    """Fresh parameters."""

  def forward(
    self,
    params: Params,
    tokens: Int[Array, 'B L'],
    segment_ids: Int[Array, 'B L'] | None = None,
    positions: Int[Array, 'B L'] | None = None,
  ) -> Float[Array, 'B L V']:
    """Logits of every position, uncached: the plain form for checks and small inputs."""

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
    """What the output layer multiplies, causal within each segment of a packed row.

    Args:
      params: of `shapes`.
      tokens: ids.
      segment_ids: which example of a packed row a token belongs to; None: one example a row.
      positions: position within the example; None: 0, 1, 2, ...
      remat: of `rematerialisations`.
      mesh: over which the rows are split; None: they are not.
    """

  def output_table(self, params: Params) -> Float[Array, 'V D']:
    """The output layer's matrix: logits are `x @ table.T`, then the cap."""


class OpenDecoder(Decoder, Protocol):
  """A decoder whose attention the caller computes, over keys and values that the caller keeps."""

  attn_softcap: float | None
  """Scores are cap * tanh(scores / cap); None: they stay."""

  def prepared(self, params: Params) -> Params:
    """For `run_blocks` and `logits` in a loop: what does not change from step to step is computed."""

  def run_blocks(
    self,
    params: Params,
    tokens: Int[Array, 'B L'],
    positions: Int[Array, 'B L'],
    attend: Attend,
    *,
    inference: bool = False,
    mesh: Mesh | None = None,
    stationary: bool = False,
    kernels: bool = False,
  ) -> Float[Array, 'B L D']:
    """Embedding, all layers, final norm. `attend` may keep the keys and values it is given.

    Args:
      params: of `shapes`, or prepared.
      tokens: ids.
      positions: of the tokens.
      attend: called once a layer, in order.
      inference: no gradient is asked for.
      mesh: over which the rows are split; None: they are not.
      stationary: weights stay where they lie and the rows' values move, which is less when tokens are few.
      kernels: a TPU's may be used, for norms too; parameters are prepared.
    """

  def logits(self, params: Params, x: Float[Array, '*B D']) -> Float[Array, '*B V']:
    """Output logits in float32, after the cap."""


@runtime_checkable
class CachedDecoder(Decoder, Protocol):
  """A decoder with a cache of its own, into which all rows write at the same column."""

  def init_cache(self, rows: int, columns: int, dtype: Any) -> Cache:
    """A cache in which nothing is of use."""

  def step(
    self,
    params: Params,
    cache: Cache,
    tokens: Int[Array, 'B L'],
    positions: Int[Array, 'B L'],
    seen: Bool[Array, 'B L T'],
    column: Int[Array, ''],
  ) -> tuple[Cache, Float[Array, 'B V']]:
    """Feeds L tokens of each row. Returns the cache, and the logits after the last of them.

    Args:
      params: of `shapes`.
      cache: of `init_cache`, with T columns.
      tokens: ids.
      positions: of the tokens; a window goes by those of the columns, too.
      seen: columns that each token sees, windows aside.
      column: the tokens go to this one and the L - 1 after it.
    """


@dataclasses.dataclass(frozen=True)
class Opaque:
  """What budgets need of a model of which at most the number of parameters is known: every token costs 2P FLOPs."""

  parameters: int = 0
  """0: not known."""

  implementation: ClassVar[str] = ''
  embedding_parameters: ClassVar[int] = 0
  attention: ClassVar[tuple[Attention, ...]] = ()

  @property
  def active_parameters(self) -> int:
    return self.parameters

  @property
  def matrix_parameters(self) -> int:
    return self.parameters


def check_remat(decoder: Decoder, remat: str) -> None:
  """Raises DecoderError where the implementation cannot recompute what `remat` names."""
  if remat not in decoder.rematerialisations:
    raise DecoderError(
      f'config.train.remat={remat!r}: the implementation {decoder.implementation!r} can do '
      f'{", ".join(map(repr, decoder.rematerialisations))}'
    )


def check_side_by_side(decoder: Decoder, runs: int) -> None:
  """Raises DecoderError where the implementation cannot train so many at once."""
  if runs > 1 and not decoder.side_by_side:
    raise DecoderError(
      f'config.train.side_by_side={runs}: the implementation {decoder.implementation!r} trains one by one; set it to 0'
    )
