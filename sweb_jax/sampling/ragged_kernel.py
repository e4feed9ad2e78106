"""What the kernel of `ragged` does on a chip, for a head of some slots; letters in shapes are as there."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sweb_jax.models import self_attention
from sweb_jax.models.cached_attention import MASKED, softcap
from sweb_jax.sampling.tiles import TILE, precision

AT_ONCE = 8
"""Tiles of rows' own that are on their way together, while as many others are attended to."""
SIDE = 8
"""Slots whose chunks, or whose prompts, are attended to together."""


def body(
  at, counts, begins, ends, todo, limits, q, stacked, flat, new_k, new_v, _chunk_k, _chunk_v, *rest,
  prefix_columns, window, cap,
):  # fmt: skip
  """While one piece of a cache is attended to, the next one is read."""
  from jax.experimental import pallas as pl
  from jax.experimental.pallas import tpu as pltpu

  *prefix, prompts_k, prompts_v, own_k, own_v, chunk_k, chunk_v, out, together, by_slot, wide = rest[:-3]
  of_prefix, of_prompts, of_own = rest[-3:]
  (each, group, width), steps, dtype = q.shape, chunk_k.shape[1], own_k.dtype
  head, part = pl.program_id(0), pl.program_id(1)
  first, count, a_set = part * each, counts[part], own_k.shape[0] // prompts_k.shape[0]
  most, piece = own_k.shape[-1] // TILE, of_prompts[0].shape[-1]
  pieces = prompts_k.shape[-1] // piece
  safe = self_attention.is_safe(cap)

  def product(x, y, over=0):
    dims = ((1,), (over,)), ((), ())
    return jax.lax.dot_general(x, y, dims, preferred_element_type=jnp.float32, precision=precision(dtype))

  def columns(s, first=0):
    return first + jax.lax.broadcasted_iota(jnp.int32, s.shape, 1)

  def masked(s, seen):
    return jnp.where(seen, softcap(s, cap), MASKED)

  def add(state, some, s, values):
    """Adds to the sums of some queries what keys give whose scores are s."""
    sums, total, top = state
    if not safe:
      before = top[some]
      top[some] = jnp.maximum(before, s.max(-1, keepdims=True))
      s -= top[some][:, :1]
      fade = jnp.exp(before - top[some])
      sums[some] *= fade[:, :1]
      total[some] *= fade
    w = jnp.exp(s)
    total[some] += jnp.broadcast_to(w.sum(-1, keepdims=True), (len(s), TILE))
    sums[some] += product(w.astype(dtype), values)

  def tile(i):
    return pl.ds(pl.multiple_of(i * TILE, TILE), TILE)

  def queries(i):
    """Of `SIDE` slots."""
    n = SIDE * group
    return pl.ds(pl.multiple_of(i * n, n), n)

  def prefix_piece(i):
    yield prefix[0].at[head, :, tile(i)], prefix[1].at[head, tile(i)]

  def prompts_piece(i):
    at, some = first // a_set + i // pieces, pl.ds(pl.multiple_of(i % pieces * piece, TILE), piece)
    yield prompts_k.at[at, head, :, some], prompts_v.at[at, head, some]

  def own_tile(i):
    """Slot among these, and number of its tile."""
    return todo[0, 0, i] // most, todo[0, 0, i] % most

  def own_piece(i):
    for j in range(AT_ONCE):
      slot, number = own_tile(i * AT_ONCE + j)
      yield own_k.at[first + slot, head, :, tile(number)], own_v.at[first + slot, head, tile(number)]

  def copies(held, piece, buffer):
    *held, arrived = held
    for j, kv in enumerate(piece):
      for source, to in zip(kv, held, strict=True):
        yield pltpu.make_async_copy(source, to.at[buffer, j], arrived.at[buffer])

  def begin(held, piece, buffer):
    for copy in copies(held, piece, buffer):
      copy.start()

  def in_turn(n, held, piece_of, attend):
    """`attend(i, keys, values)` for every i < n; what 0 reads was begun before."""

    @pl.loop(0, n)
    def _(i):
      buffer = i % 2

      @pl.when(i + 1 < n)
      def _():
        begin(held, piece_of(i + 1), 1 - buffer)

      for copy in copies(held, piece_of(i), buffer):
        copy.wait()
      attend(i, held[0].at[buffer], held[1].at[buffer])

  def attend_prefix(i, keys, values):
    s = product(flat[...], keys[0])
    column = columns(s, i * TILE)
    add(together, slice(None), masked(s, (column >= limits[:, :1]) & (column < prefix_columns)), values[0])

  def attend_prompts(i, keys, values):
    this = i // pieces  # The set, among those of the call.

    @pl.loop(0, max(1, min(each, a_set) // SIDE))
    def _(j):
      j += this * a_set // SIDE
      some = queries(j)
      s = product(stacked[j], keys[0])
      column = columns(s, i % pieces * piece)
      seen = (column >= limits[some, 1:2]) & (column < limits[some, 2:3])
      if a_set < SIDE:
        slot = j * SIDE + jax.lax.broadcasted_iota(jnp.int32, s.shape, 0) // group
        seen &= slot // a_set == this
      add(together, some, masked(s, seen), values[0])

  def attend_own(i, keys, values):
    scores = []
    for j in range(AT_ONCE):
      slot, number = own_tile(i * AT_ONCE + j)
      s = product(q[slot], keys[j])
      end = jnp.where(i * AT_ONCE + j < count, ends[first + slot], 0)  # Of padding nothing is seen.
      column = columns(s, number * TILE)
      scores.append((slot, masked(s, (column >= begins[first + slot]) & (column < end))))
    for j, (slot, s) in enumerate(scores):
      add(by_slot, slot, s, values[j])

  if prefix:
    begin(of_prefix, prefix_piece(0), 0)
  begin(of_prompts, prompts_piece(0), 0)

  @pl.when(count > 0)
  def _():
    begin(of_own, own_piece(0), 0)

  for x, value in zip(together, (0.0, 0.0, MASKED), strict=True):
    x[...] = jnp.full(x.shape, value)

  @pl.loop(0, each // SIDE)
  def _(i):
    some = pl.ds(i * SIDE, SIDE)
    step = jax.lax.broadcasted_iota(jnp.int32, (SIDE, steps, width), 1)
    for new, old, chunk in ((new_k, _chunk_k, chunk_k), (new_v, _chunk_v, chunk_v)):
      new = jnp.broadcast_to(new[i].astype(jnp.float32)[:, None], step.shape)  # No other type is spread so.
      chunk[some] = jnp.where(step == at[0], new.astype(dtype), old[some])
    s = product(stacked[i], chunk_k[some].reshape(SIDE * steps, width), 1)
    query, column = jax.lax.broadcasted_iota(jnp.int32, s.shape, 0), columns(s)
    age = at[0] - column % steps
    seen = (query // group == column // steps) & (age >= 0)
    if window is not None:
      seen &= age < window
    add(together, queries(i), masked(s, seen), chunk_v[some].reshape(SIDE * steps, width))

  if prefix:
    in_turn(prefix[0].shape[-1] // TILE, of_prefix, prefix_piece, attend_prefix)
  in_turn(max(1, each // a_set) * pieces, of_prompts, prompts_piece, attend_prompts)

  @pl.loop(0, each // SIDE)
  def _(i):
    for some, one in zip(together, by_slot, strict=True):
      x = some[queries(i)]
      for j in range(SIDE):
        one[i * SIDE + j] = x[j * group : (j + 1) * group]

  in_turn(pl.cdiv(count, AT_ONCE), of_own, own_piece, attend_own)
  at_once = wide.shape[0]

  @pl.loop(0, each // at_once)
  def _(i):
    sums, total, _ = by_slot
    for j in range(at_once):
      slot = i * at_once + j
      x = sums[slot] / total[slot][:, :1]
      for g in range(group):
        wide[j : j + 1, g * width : (g + 1) * width] = x[g : g + 1]
    out[pl.ds(i * at_once, at_once)] = wide[...].astype(out.dtype)
