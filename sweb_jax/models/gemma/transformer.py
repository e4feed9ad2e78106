"""One forward pass for every Gemma, in plain JAX over the gemma library's parameter tree.

Training, prefill and decode run the same blocks and differ only in what a layer attends to, the function `attend`
they pass in: keys and values may lie anywhere, and those that rows have in common are kept and read once. The library's
own modules, which have one cache a row, are the reference (`models.library`).

Letters in shapes: B batch, L length, T keys, V vocabulary, D width, F hidden width, N heads, K KV heads, H head width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from sweb_jax.models import self_attention, sharding
from sweb_jax.models.cached_attention import Attend, softcap
from sweb_jax.models.decoder import Params
from sweb_jax.models.gemma import norms
from sweb_jax.models.gemma.shape import Shape

_PRODUCT = 'product'
"""What comes out of a product with weights, once it is split further (`sharding.spread`)."""

REMAT = {
  'none': None,
  'dots': jax.checkpoint_policies.save_only_these_names(_PRODUCT, self_attention.NAME),
  'full': jax.checkpoint_policies.nothing_saveable,
}
"""What the backward pass recomputes of a block: nothing; all but products with weights and attention's output; all."""


def forward(
  params: Params,
  config: Shape,
  tokens: Int[Array, 'B L'],
  segment_ids: Int[Array, 'B L'] | None = None,
  positions: Int[Array, 'B L'] | None = None,
) -> Float[Array, 'B L V']:
  """Logits of every position, uncached: the plain form for tests and small inputs."""
  return logits(params, config, hidden(params, config, tokens, segment_ids, positions))


def hidden(
  params: Params,
  config: Shape,
  tokens: Int[Array, 'B L'],
  segment_ids: Int[Array, 'B L'] | None = None,
  positions: Int[Array, 'B L'] | None = None,
  *,
  remat: str = 'none',
  mesh: Mesh | None = None,
) -> Float[Array, 'B L D']:
  """The last layer's normed output, causal within each segment of a packed row.

  Args:
    params: the gemma library's tree.
    config: the architecture.
    tokens: ids.
    segment_ids: which example of a packed row a token belongs to; None: one example a row.
    positions: position within the example; None: 0, 1, 2, ...
    remat: what the backward pass recomputes instead of keeping it: a name in `REMAT`.
    mesh: over which the rows are split; None: they are not.
  """
  if positions is None:
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
  if segment_ids is None:
    segment_ids = jnp.zeros(tokens.shape, jnp.int32)

  def attend(layer, q, k, v):
    window = config.attention[layer].window
    return self_attention.self_attention(q, k, v, segment_ids, positions, window, config.attn_softcap)

  return run_blocks(params, config, tokens, positions, attend, remat=remat, mesh=mesh)


def logits(params: Params, config: Shape, x: Float[Array, '*B D']) -> Float[Array, '*B V']:
  """Output logits: the tied embedding, then the final soft cap."""
  # Summed in float32 whatever the inputs are: of 262,144 logits in bfloat16 many would tie.
  out = jnp.einsum('...d,vd->...v', x, params['embedder']['input_embedding'], preferred_element_type=jnp.float32)
  return softcap(out, config.final_softcap)


def run_blocks(
  params: Params,
  config: Shape,
  tokens: Int[Array, 'B L'],
  positions: Int[Array, 'B L'],
  attend: Attend,
  *,
  remat: str = 'none',
  inference: bool = False,
  mesh: Mesh | None = None,
  stationary: bool = False,
  kernels: bool = False,
) -> Float[Array, 'B L D']:
  """Embedding, all blocks, final norm. `attend` may keep the keys and values it is given.

  With `inference` the weights are multiplied with where they lie; else stacked ones are first taken apart, which costs
  a copy and makes the backward pass faster. With a mesh, what a block gives stays with its rows,
  and weights split over `fsdp` come to them; `stationary` leaves the weights where they are, which is less to move when
  a step has few tokens. `kernels` of a TPU are for prepared parameters.
  """
  table = params['embedder']['input_embedding']
  split = mesh is not None and mesh.shape['tensor'] > 1
  keep = functools.partial(sharding.keep_rows, mesh=None if stationary else mesh)
  # Of prompts there are too few tokens at a time to split them.
  axis = 0 if inference else 1
  spread = functools.partial(sharding.spread, mesh=None if stationary else mesh, axis=axis)
  x = spread(keep(table[tokens] * jnp.asarray(config.width**0.5, table.dtype)))
  # The angles depend on the kind of layer only: one table a kind, not one a layer.
  ropes = {
    True: _rope_angles(positions, config.head_width, config.local_rope_base, 1.0),
    False: _rope_angles(positions, config.head_width, config.rope_base, config.rope_scale),
  }

  add = norms.add
  if kernels and not stationary and norms.fits(x, where := sharding.spreading(x.shape, mesh, axis)):
    add = functools.partial(norms.add_by_kernel, where=where)
  add = functools.partial(add, eps=config.norm_eps)

  def block(p, x, layer):
    rope = ropes[config.is_local(layer)]
    own = functools.partial(attend, layer)
    return _block(p, config, x, rope, own, inference, split, kernels, keep, spread, add)

  period = len(config.pattern)
  repeats = config.layers // period if remat != 'none' else 0
  if repeats > 1:
    # In a loop the order is fixed. Unrolled, XLA on CPU makes everything again at once, and nothing is saved.
    def repeat(x, ps):
      for i, p in enumerate(ps):
        x = block(p, x, i)
      return x, None

    groups = [[params[f'layer_{i}'] for i in range(kind, repeats * period, period)] for kind in range(period)]
    stacked = [jax.tree.map(lambda *ws: jnp.stack(ws), *group) for group in groups]
    x, _ = jax.lax.scan(jax.checkpoint(repeat, policy=REMAT[remat], prevent_cse=False), x, stacked)
  else:
    repeats = 0
  for layer in range(repeats * period, config.layers):
    run = functools.partial(block, layer=layer)
    x = (run if remat == 'none' else jax.checkpoint(run, policy=REMAT[remat]))(params[f'layer_{layer}'], x)
  return keep(norms.rms_norm(x, params['final_norm'], config.norm_eps))


def _project(x: Float[Array, 'B L D'], w: Float[Array, '*n D F']) -> Float[Array, '*n B L F']:
  """x times each of a stack of matrices, read where they lie."""
  batch = tuple(range(w.ndim - 2))
  x = jnp.broadcast_to(x, w.shape[:-2] + x.shape)
  return jax.lax.dot_general(x, w, (((x.ndim - 1,), (w.ndim - 2,)), (batch, batch)))


def _gate_and_up(
  h: Float[Array, 'B L D'], w: Float[Array, '2 ...'], transposed: bool, split: bool
) -> list[Float[Array, 'B L F']]:
  """Both products of the gated feed-forward layer, read where they lie; transposed: [2, F, D], else [2, D, F]."""
  if not transposed:
    return list(_project(h, w))
  if split:  # Over devices by F: rows of one matrix would lie on others.
    return list(jnp.einsum('bld,sfd->sblf', h, w))
  # One matrix of 2F rows: XLA's CPU code reads it at twice the speed of a batch of two.
  return jnp.split(jnp.einsum('bld,fd->blf', h, w.reshape(-1, w.shape[-1])), 2, axis=-1)


def _dense(x: Float[Array, '*B D'], w: Float[Array, 'D F'], transposed: bool = False) -> Float[Array, '*B F']:
  """x times a matrix; transposed: it is [F, D]."""
  # Over one dimension of rows the gradient is a plain product too, and needs no transposed copy of the activations.
  rows = x.reshape(-1, x.shape[-1])
  out = jax.lax.dot_general(rows, w, (((1,), (1 if transposed else 0,)), ((), ())))
  return out.reshape(*x.shape[:-1], out.shape[-1])


def _block(p, config, x, rope, attend, inference, split, kernels, keep, spread, add):
  """One decoder layer: attention, then the gated feed-forward, each inside its norms."""
  _, h = add(x, None, None, p['pre_attention_norm'])
  h = keep(h)
  attn = p['attn']
  stacks = [attn['qkv_einsum']['w']] if config.fused_qkv else [attn['q_einsum']['w'][None], attn['kv_einsum']['w']]
  if inference:
    # For a TPU's kernel keys and values are products of their own: taken apart after one, they would be copied.
    q, k, v = (
      x.transpose(1, 2, 0, 3)
      for w in stacks
      for x in ([_project(h, part) for part in w] if kernels else _project(h, w))
    )
  else:
    # Stacked weights are taken apart, not what comes out of them: the backward pass then pads weights, not activations.
    q, k, v = (
      _dense(h, w.swapaxes(0, 1).reshape(h.shape[-1], -1)).reshape(*h.shape[:-1], -1, config.head_width)
      for stack in stacks
      for w in stack
    )
  q, k, v = (checkpoint_name(out, _PRODUCT) for out in (q, k, v))
  if config.qk_norm:
    q = norms.rms_norm(q, attn['_query_norm'], config.norm_eps)
    k = norms.rms_norm(k, attn['_key_norm'], config.norm_eps)
  scale = config.head_width**-0.5 if config.query_scale is None else config.query_scale
  out = attend(_rotate(q, rope) * jnp.asarray(scale, q.dtype), _rotate(k, rope), v)
  out = _dense(out.reshape(*x.shape[:-1], -1), attn['attn_vec_einsum']['w'].reshape(-1, x.shape[-1]))
  out = checkpoint_name(spread(out), _PRODUCT)

  x, h = add(x, out, p['post_attention_norm'] if config.post_norms else None, p['pre_ffw_norm'])
  h = keep(h)
  gating, transposed = p['mlp']['gating_einsum'], config.transpose_gating
  if inference:
    gate, up = _gate_and_up(h, gating, transposed, split)
  else:
    gate, up = (checkpoint_name(_dense(h, w, transposed), _PRODUCT) for w in gating)
  out = checkpoint_name(spread(_dense(jax.nn.gelu(gate, approximate=True) * up, p['mlp']['linear'])), _PRODUCT)
  x, _ = add(x, out, p['post_ffw_norm'] if config.post_norms else None, None)
  return x


def _rope_angles(positions, head_width, base, scale):
  """Factors of x and of its swapped halves, [B, L, 1, 2, H / 2] (RoPE, arXiv 2104.09864)."""
  timescale = base ** (jnp.arange(0, head_width, 2, dtype=jnp.float32) / head_width)
  angle = positions[..., None, None].astype(jnp.float32) / scale / timescale
  sin, cos = jnp.sin(angle), jnp.cos(angle)
  return jnp.stack([cos, cos], axis=-2), jnp.stack([-sin, sin], axis=-2)


def _rotate(x, rope):
  """Turns the pairs (x_i, x_{i + H/2}) by their angles."""
  own, swapped = rope
  halves = x.astype(jnp.float32).reshape(*x.shape[:-1], 2, x.shape[-1] // 2)
  # Reversing two halves fuses with the products, forward and backward; splitting and joining them does not.
  return (halves * own + jnp.flip(halves, axis=-2) * swapped).reshape(x.shape).astype(x.dtype)


def init(config: Shape, key: Array, dtype: Any = jnp.float32) -> Params:
  """Fresh parameters: normal, scaled by 1 / sqrt(inputs); the norms' scales 0, which is a factor of 1."""
  keys = iter(jax.random.split(key, 1 + 6 * config.layers))

  def normal(*shape, fan_in):
    return jax.random.normal(next(keys), shape, dtype) * jnp.asarray(fan_in**-0.5, dtype)

  return _tree(config, normal, lambda width: jnp.zeros((width,), dtype))


def shapes(config: Shape, dtype: Any = jnp.float32) -> Params:
  """The tree of `jax.ShapeDtypeStruct` that `init` would give, without any memory."""

  def made(*shape, fan_in=None):
    return jax.ShapeDtypeStruct(shape, dtype)

  return _tree(config, made, made)


def _tree(c: Shape, normal: Callable[..., Any], zeros: Callable[[int], Any]) -> Params:
  """The tree of parameters: `normal` makes one of a shape for a number of inputs, `zeros` one of a width."""

  def norm(width):
    return {'scale': zeros(width)}

  # Rows of variance 1 / D: times sqrt(D) the stream starts at unit variance, and the tied logits do too.
  params = {'embedder': {'input_embedding': normal(c.vocab_size, c.width, fan_in=c.width)}, 'final_norm': norm(c.width)}
  for layer in range(c.layers):
    if c.fused_qkv:
      attn = {'qkv_einsum': {'w': normal(3, c.heads, c.width, c.head_width, fan_in=c.width)}}
    else:
      attn = {
        'q_einsum': {'w': normal(c.heads, c.width, c.head_width, fan_in=c.width)},
        'kv_einsum': {'w': normal(2, c.kv_heads, c.width, c.head_width, fan_in=c.width)},
      }
    attn['attn_vec_einsum'] = {'w': normal(c.heads, c.head_width, c.width, fan_in=c.heads * c.head_width)}
    if c.qk_norm:
      attn |= {'_query_norm': norm(c.head_width), '_key_norm': norm(c.head_width)}
    gating = (2, c.hidden, c.width) if c.transpose_gating else (2, c.width, c.hidden)
    p = {
      'attn': attn,
      'mlp': {'gating_einsum': normal(*gating, fan_in=c.width), 'linear': normal(c.hidden, c.width, fan_in=c.hidden)},
      'pre_attention_norm': norm(c.width),
      'pre_ffw_norm': norm(c.width),
    }
    if c.post_norms:
      p |= {'post_attention_norm': norm(c.width), 'post_ffw_norm': norm(c.width)}
    params[f'layer_{layer}'] = p
  return params
