"""How one token is drawn from logits."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt32


@dataclasses.dataclass(frozen=True)
class Rule:
  """The sampling rule; top-k comes before top-p, so the whole vocabulary is never sorted."""

  temperature: float = 1.0
  """0 is greedy."""
  top_k: int = 0
  """Keep the k likeliest tokens; 0 keeps all."""
  top_p: float = 1.0
  """Of the top k, keep the smallest set that holds this much probability; needs top_k."""
  forbidden: tuple[int, ...] = ()
  """Ids never drawn: padding and BOS."""

  def __post_init__(self):
    if self.temperature < 0:
      raise ValueError(f'temperature={self.temperature} must be 0 (greedy) or positive')
    if self.top_k < 0:
      raise ValueError(f'top_k={self.top_k} must be 0 (off) or positive')
    if not 0 < self.top_p <= 1:
      raise ValueError(f'top_p={self.top_p} must lie in (0, 1]')
    if self.top_p < 1 and not self.top_k:
      raise ValueError(f'top_p={self.top_p} needs top_k: the nucleus is looked for among the top_k likeliest tokens')


def row_keys(
  key: Key[Array, ''], problems: UInt32[Array, 'S 2'], indices: Int[Array, S]
) -> Key[Array, S]:
  """The key of each sample: a function of (run key, problem hash, sample index) and nothing else."""

  def one(problem, index):
    return jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, problem[0]), problem[1]), index)

  return jax.vmap(one)(problems, indices)


def draw(
  logits: Float[Array, 'S V'], keys: Key[Array, S], positions: Int[Array, S], rule: Rule
) -> tuple[Int[Array, S], Float[Array, S]]:
  """Draws one token a row; also gives its log-probability under the model at temperature 1.

  The key of a token is its row's key folded with its position, so that neither batch nor slot nor restart changes it.
  """
  logits = logits.astype(jnp.float32)
  if rule.forbidden:
    never = np.zeros(logits.shape[-1], bool)
    never[list(rule.forbidden)] = True
    logits = jnp.where(never, -jnp.inf, logits)
  keep = 1 if rule.temperature == 0 else min(rule.top_k, logits.shape[-1])
  if keep:
    choices, ids = top_k(logits, keep)
    largest = choices[:, :1]
  else:
    choices, ids, largest = logits, None, logits.max(axis=-1, keepdims=True)
  if rule.temperature == 0:
    tokens = jnp.zeros(logits.shape[:1], jnp.int32)
  else:
    choices = (choices - largest) / rule.temperature
    if rule.top_p < 1:
      p = jax.nn.softmax(choices, axis=-1)
      choices = jnp.where(jnp.cumsum(p, axis=-1) - p < rule.top_p, choices, -jnp.inf)
    # Inverse CDF: one random number a row, where the Gumbel trick would need one a vocabulary entry.
    # Rounded, a long sum steps up and down over entries of weight 0 too; those must never be drawn and are left out.
    weights = jnp.exp(choices)
    cdf = jnp.where(weights > 0, jnp.cumsum(weights, axis=-1), 0.0)
    token_keys = jax.vmap(jax.random.fold_in)(keys, positions)
    level = jax.vmap(jax.random.uniform)(token_keys)[:, None] * cdf.max(axis=-1, keepdims=True)
    last = choices.shape[-1] - 1
    tokens = jnp.min(jnp.where(cdf > level, jnp.arange(last + 1), last), axis=-1)
  if ids is not None:
    tokens = jnp.take_along_axis(ids, tokens[:, None], axis=-1)[:, 0]
  chosen = jnp.take_along_axis(logits, tokens[:, None], axis=-1)
  total = jnp.sum(jnp.exp(logits - largest), axis=-1)
  return tokens.astype(jnp.int32), (chosen - largest)[:, 0] - jnp.log(total)


def top_k(logits: Float[Array, 'S V'], k: int) -> tuple[Float[Array, 'S k'], Int[Array, 'S k']]:
  """The k largest values of each row in falling order, and their places; which of equal values is fixed.

  A large vocabulary is looked through in two stages: the k groups with the largest maxima hold the k largest values.
  A group is every V/128-th entry, as XLA's CPU code reduces over strides ten times faster than over neighbours.
  """
  rows, size = logits.shape
  groups, rest = divmod(size, 128)
  if rest or groups < 8 * k:
    return _top_k(logits, k)
  parts = logits.reshape(rows, 128, groups)
  columns = jnp.sort(_top_k(parts.max(axis=1), k)[1], axis=-1)
  values, at = _top_k(jnp.take_along_axis(parts, columns[:, None], axis=2).reshape(rows, -1), k)
  return values, at // k * groups + jnp.take_along_axis(columns, at % k, axis=-1)


def _top_k(x, k):
  # The barrier keeps XLA from merging later slices into the top-k, which it would then do by a full sort.
  # One at a time: around both, XLA takes the pair for one value, which it cannot split over devices.
  values, ids = jax.lax.top_k(x, k)
  return jax.lax.optimization_barrier(values), jax.lax.optimization_barrier(ids)
