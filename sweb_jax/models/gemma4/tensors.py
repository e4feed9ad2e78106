"""Parameters of Gemma 3n and 4 and the tensors that are the same in a Hugging Face directory, both ways.

Letters: D width, N heads (or KV heads), H head width, F hidden, P width of inputs by layer, E experts, A streams.
Hugging Face keeps matrices as [outputs, inputs]; of layers that read the keys of others it has no key weights.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from sweb_jax.models.gemma4.shape import Layered

Read = Callable[[str], np.ndarray]
"""Tensor name to tensor."""


class Form(NamedTuple):
  """How tensors make a parameter of some shape, and how it is taken apart."""

  join: Callable[[Sequence[Any], tuple[int, ...]], Any]
  split: Callable[[Any], Sequence[Any]]


_SAME = Form(lambda t, shape: t[0], lambda x: [x])
_TABLE = Form(lambda t, shape: t[0][: shape[0]], lambda x: [x])
_TURNED = Form(lambda t, shape: t[0].swapaxes(-1, -2), lambda x: [x.swapaxes(-1, -2)])
_FLAT = Form(lambda t, shape: t[0].reshape(shape), lambda x: [x.reshape(x.shape[0], -1)])  # [V, layers, P]
_PROJECTION = Form(lambda t, shape: t[0].T.reshape(shape), lambda x: [x.reshape(x.shape[0], -1).T])  # [D, layers, P]
_OUTPUT = Form(lambda t, shape: t[0].T.reshape(shape), lambda x: [x.reshape(-1, x.shape[-1]).T])  # [N, H, D]
_PAIR = Form(lambda t, shape: np.stack(t), lambda x: [x[0], x[1]])  # [2, F, D]
_EXPERTS = Form(  # [E, 2, F, D]
  lambda t, shape: t[0].reshape(shape), lambda x: [x.reshape(x.shape[0], -1, x.shape[-1])]
)
_STREAMS = Form(  # [A, A, A]: of a modality, to a stream, from a stream.
  lambda t, shape: t[0].reshape(shape).transpose(2, 0, 1), lambda x: [x.transpose(1, 2, 0).reshape(-1, x.shape[0])]
)


def _heads(t: Any, shape: tuple[int, ...]) -> Any:
  """[N * H, D] to [N, D, H]."""
  n, d, h = shape
  return t.reshape(n, h, d).swapaxes(1, 2)


def _rows(x: Any) -> Any:
  return x.swapaxes(1, 2).reshape(-1, x.shape[1])


_HEADS = Form(lambda t, shape: _heads(t[0], shape), lambda x: [_rows(x)])
_KEYS_AND_VALUES = Form(
  lambda t, shape: np.stack([_heads(x, shape[1:]) for x in t]), lambda x: [_rows(x[0]), _rows(x[1])]
)

# Pattern of a parameter's name: its tensors and their form. The first match counts.
_NAMES = (
  (r'embedder/input_embedding', ('embed_tokens.weight',), _TABLE),
  (r'embedder/per_layer_(input_)?embeddings?', ('embed_tokens_per_layer.weight',), _FLAT),
  (r'embedder/per_layer_(input|model)_projection/w', ('per_layer_model_projection.weight',), _PROJECTION),
  (r'embedder/per_layer_projection_norm/scale', ('per_layer_projection_norm.weight',), _SAME),
  (r'altup_projection_(\d+)/.*', (r'altup_projections.\1.weight',), _TURNED),
  (r'altup_unembed_projection_(\d+)/.*', (r'altup_unembed_projections.\1.weight',), _TURNED),
  (r'final_norm/scale', ('norm.weight',), _SAME),
  (r'skip_scale', ('layer_scalar',), _SAME),
  (r'attn/q_einsum/w', ('self_attn.q_proj.weight',), _HEADS),
  (r'attn/k_einsum/w', ('self_attn.k_proj.weight',), _HEADS),
  (r'attn/kv_einsum/w', ('self_attn.k_proj.weight', 'self_attn.v_proj.weight'), _KEYS_AND_VALUES),
  (r'attn/attn_vec_einsum/w', ('self_attn.o_proj.weight',), _OUTPUT),
  (r'attn/query_norm/scale', ('self_attn.q_norm.weight',), _SAME),
  (r'attn/key_norm/scale', ('self_attn.k_norm.weight',), _SAME),
  (r'mlp/router_logits/w', ('router.proj.weight',), _TURNED),
  (r'mlp/router_scale', ('router.scale',), _SAME),
  (r'mlp/per_expert_scale', ('router.per_expert_scale',), _SAME),
  (r'mlp/gating_einsum/w', ('experts.gate_up_proj',), _EXPERTS),
  (r'mlp/linear/w', ('experts.down_proj',), _TURNED),
  (r'mlp2?/gating_einsum', ('mlp.gate_proj.weight', 'mlp.up_proj.weight'), _PAIR),
  (r'mlp2?/linear', ('mlp.down_proj.weight',), _TURNED),
  (r'pre_attention_norm/scale', ('input_layernorm.weight',), _SAME),
  (r'post_attention_norm/scale', ('post_attention_layernorm.weight',), _SAME),
  (r'post_ffw_norm/scale', ('post_feedforward_layernorm.weight',), _SAME),
  # The feed-forward layer comes first there, the experts second.
  (r'pre_ffw2_norm/scale', ('pre_feedforward_layernorm.weight',), _SAME),
  (r'post_ffw2_norm/scale', ('post_feedforward_layernorm_1.weight',), _SAME),
  (r'post_ffw1_norm/scale', ('post_feedforward_layernorm_2.weight',), _SAME),
  (r'(per_layer_mapping/)?(per_layer_\w+)/w', (r'\2.weight',), _TURNED),
  (r'(per_layer_mapping/)?post_per_layer_input_norm/scale', ('post_per_layer_input_norm.weight',), _SAME),
  (r'laurel/(linear_\w+)/w', (r'laurel.\1.weight',), _TURNED),
  (r'post_laurel_norm/scale', ('laurel.post_laurel_norm.weight',), _SAME),
  (r'altup/modality_router/w', ('altup.modality_router.weight',), _TURNED),
  (r'altup/prediction_coefs', ('altup.prediction_coefs.weight',), _STREAMS),
  (r'altup/correction_coefs', ('altup.correction_coefs.weight',), _TURNED),
  (r'altup/correct_output_scale', ('altup.correct_output_scale',), _SAME),
  (r'altup/router_norm_layer/scale', ('altup.router_norm.weight',), _SAME),
)


def parameter(path: str, read: Read, c: Layered) -> np.ndarray:
  """The parameter `path` ('layer_0/mlp/linear') from its tensors; 0 where nothing reads it."""
  names, form = _form(path, c)
  shape = c.leaves[path].shape
  if not names:
    return np.zeros(shape, read('model.norm.weight').dtype)
  return form.join([read(name) for name in names], shape)


def tensors(path: str, x: np.ndarray, c: Layered) -> dict[str, np.ndarray]:
  """The tensors of the parameter `path`: the inverse of `parameter`."""
  names, form = _form(path, c)
  return dict(zip(names, form.split(x), strict=True)) if names else {}


def shapes(c: Layered) -> dict[str, dict[str, tuple[int, ...]]]:
  """Of every parameter: its tensors and their shapes."""
  out = {}
  for path, leaf in c.leaves.items():
    names, form = _form(path, c)
    out[path] = dict(zip(names, _split_shapes(form, leaf.shape), strict=True)) if names else {}
  return out


def unread(c: Layered) -> frozenset[str]:
  """Tensors that a directory may have and no model reads: keys and values of layers that read those of others."""
  parts = ('k_proj', 'v_proj', 'k_norm', 'v_norm')
  readers = (layer for layer in range(c.layers) if c.source(layer) != layer)
  return frozenset(f'model.layers.{layer}.self_attn.{part}.weight' for layer in readers for part in parts)


@functools.cache
def _split_shapes(form: Form, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
  return [x.shape for x in jax.eval_shape(form.split, jax.ShapeDtypeStruct(shape, np.float32))]


def _form(path: str, c: Layered) -> tuple[tuple[str, ...], Form]:
  """The tensors of a parameter, and their form; none where nothing reads it."""
  if c.leaves[path].kind == 'idle':
    return (), _SAME
  layer, _, name = path.partition('/') if path.startswith('layer_') else ('', '', path)
  at = f'layers.{layer.removeprefix("layer_")}.' if layer else ''
  if name == 'pre_ffw_norm/scale':  # Where there are experts it is theirs.
    number = '_2' if f'{layer}/pre_ffw2_norm/scale' in c.leaves else ''
    return (f'model.{at}pre_feedforward_layernorm{number}.weight',), _SAME
  for pattern, names, form in _NAMES:
    if found := re.fullmatch(pattern, name):
      return tuple(f'model.{at}{found.expand(name)}' for name in names), form
  raise KeyError(path)
