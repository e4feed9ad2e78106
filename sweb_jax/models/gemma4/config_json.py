"""A Gemma 3n or 4 as Hugging Face's `config.json` says it, read and written, without what reads images and sound.

Defaults are those of transformers (`Gemma4TextConfig`, `Gemma3nTextConfig`); a field that would change the numbers in a
way that the gemma library does not compute has one value it may have.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sweb_jax.models.gemma.huggingface_fields import JsonObject, LayerTypes, PlainRope, Whole
from sweb_jax.models.gemma.shape import Base, Cap, Layers, Size, Window
from sweb_jax.models.gemma4.config import Gemma3n, Gemma4
from sweb_jax.models.gemma4.gemma3n import STREAMS
from sweb_jax.models.gemma4.shape import Count, Share
from sweb_jax.models.reading import CheckpointError


class _Rope(JsonObject):
  """`rope_parameters` of one kind of layer of Gemma 4; the global ones turn a part of each head."""

  rope_type: Literal['default', 'proportional'] = 'default'
  rope_theta: Base = 10_000.0
  partial_rotary_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
  factor: Annotated[float, Field(ge=1, le=1)] = 1.0

  @model_validator(mode='after')
  def _agrees(self) -> _Rope:
    if self.rope_type == 'default' and self.partial_rotary_factor != 1:
      raise ValueError("partial_rotary_factor needs rope_type='proportional'")
    return self


class _Ropes(JsonObject):
  full_attention: _Rope = _Rope(rope_type='proportional', partial_rotary_factor=0.25, rope_theta=1e6)
  sliding_attention: PlainRope = PlainRope()


class _PlainRopes(JsonObject):
  full_attention: PlainRope = PlainRope()
  sliding_attention: PlainRope = PlainRope()


class _GlobalLayer(JsonObject):
  """An entry of `per_layer_config`, as transformers writes it for global layers."""

  head_dim: Size
  num_key_value_heads: Size | None = None


class _Text(Whole):
  """What both families say."""

  vocab_size: Size = 262_144
  hidden_size: Size
  num_hidden_layers: Layers
  num_attention_heads: Size = 8
  num_key_value_heads: Size
  head_dim: Size = 256
  hidden_activation: Literal['gelu_pytorch_tanh'] = 'gelu_pytorch_tanh'
  rms_norm_eps: Annotated[float, Field(ge=1e-6, le=1e-6)] = 1e-6  # The library has this one.
  attention_bias: Literal[False] = False
  sliding_window: Window = 512
  layer_types: LayerTypes | None = None
  vocab_size_per_layer_input: Size = 262_144
  hidden_size_per_layer_input: Count = 256

  def _common(self, period: int) -> dict[str, Any]:
    types = self.layer_types or [
      'full_attention' if i % period == 0 else 'sliding_attention' for i in range(1, self.num_hidden_layers + 1)
    ]
    if len(types) != self.num_hidden_layers:
      raise ValueError(f'layer_types has {len(types)} entries for num_hidden_layers={self.num_hidden_layers}')
    rows = self.vocab_size_per_layer_input if self.hidden_size_per_layer_input else self.vocab_size
    if rows > self.vocab_size:
      raise ValueError(f'vocab_size_per_layer_input={rows} must not be above vocab_size={self.vocab_size}')
    return dict(
      vocab_size=rows,  # Those beyond are of images and sound.
      width=self.hidden_size,
      layers=self.num_hidden_layers,
      heads=self.num_attention_heads,
      kv_heads=self.num_key_value_heads,
      head_width=self.head_dim,
      pattern=_shortest(tuple('local' if t == 'sliding_attention' else 'global' for t in types)),
      window=self.sliding_window,
      per_layer_width=self.hidden_size_per_layer_input,
    )


class Gemma4Text(_Text):
  """`model_type` gemma4_text."""

  hidden_size: Size = 2304
  intermediate_size: Size = 9216
  num_hidden_layers: Layers = 30
  num_key_value_heads: Size = 4
  rope_parameters: _Ropes = _Ropes()
  final_logit_softcapping: Cap | None = None
  use_bidirectional_attention: Literal['vision'] | None = None  # Among the tokens of an image.
  attention_k_eq_v: bool = False
  num_kv_shared_layers: Count = 0
  use_double_wide_mlp: bool = False
  global_head_dim: Size = 512
  num_global_key_value_heads: Size | None = None
  per_layer_config: dict[str, _GlobalLayer] | None = None
  enable_moe_block: bool = False
  num_experts: Count | None = None
  top_k_experts: Count | None = None
  moe_intermediate_size: Count | None = None

  def architecture(self) -> Gemma4:
    """Raises ValueError where fields do not fit together."""
    fields = self._common(6)
    layers, rope = range(self.num_hidden_layers), self.rope_parameters
    is_global = [fields['pattern'][i % len(fields['pattern'])] == 'global' for i in layers]
    if not is_global[-1]:
      raise ValueError('layer_types: the last layer must be of full_attention')
    own = _GlobalLayer(
      head_dim=self.global_head_dim,
      num_key_value_heads=self.num_global_key_value_heads if self.attention_k_eq_v else None,
    )
    if self.per_layer_config is not None:
      own = next(iter(self.per_layer_config.values()), own)
      if self.per_layer_config != {str(i): own for i in layers if is_global[i]}:
        raise ValueError('per_layer_config: the layers of full_attention, and no others, must have one and the same')
    if self.enable_moe_block:
      fields |= dict(
        experts=self.num_experts or 0, chosen_experts=self.top_k_experts or 0,
        expert_hidden=self.moe_intermediate_size or 0,
      )  # fmt: skip
    return Gemma4(
      **fields,
      hidden=self.intermediate_size,
      final_softcap=self.final_logit_softcapping,
      rope_base=rope.full_attention.rope_theta,
      local_rope_base=rope.sliding_attention.rope_theta or 10_000.0,
      shared_layers=self.num_kv_shared_layers,
      shared_hidden=2 * self.intermediate_size if self.use_double_wide_mlp and self.num_kv_shared_layers else None,
      global_kv_heads=own.num_key_value_heads or self.num_key_value_heads,
      global_head_width=own.head_dim,
      keys_are_values=self.attention_k_eq_v,
      global_rope_share=rope.full_attention.partial_rotary_factor,
    )


class Gemma3nText(_Text):
  """`model_type` gemma3n_text."""

  vocab_size: Size = 262_400
  hidden_size: Size = 2048
  intermediate_size: Size | Annotated[list[Size], Field(min_length=1, max_length=1000)] = 16_384
  num_hidden_layers: Layers = 35
  num_key_value_heads: Size = 2
  rope_parameters: _PlainRopes = _PlainRopes()
  rope_scaling: PlainRope | None = None
  rope_theta: Base = 1_000_000.0
  rope_local_base_freq: Base = 10_000.0
  final_logit_softcapping: Cap = 30.0
  altup_active_idx: Annotated[int, Field(ge=0, le=0)] = 0
  altup_coef_clip: Cap = 120.0
  altup_correct_scale: Literal[True] = True
  altup_num_inputs: Annotated[int, Field(ge=STREAMS, le=STREAMS)] = STREAMS
  num_kv_shared_layers: Count = 15
  laurel_rank: Size = 64
  activation_sparsity_pattern: Annotated[list[Share], Field(max_length=1000)] | None = None

  def architecture(self) -> Gemma3n:
    """Raises ValueError where fields do not fit together."""
    wide = self.intermediate_size if isinstance(self.intermediate_size, list) else [self.intermediate_size]
    if len(set(wide)) != 1:
      raise ValueError('intermediate_size must be the same in all layers')
    sparse = 10 if self.num_hidden_layers > 10 else 0
    sparsity = self.activation_sparsity_pattern
    if sparsity is None:
      sparsity = [0.95] * sparse + [0.0] * (self.num_hidden_layers - sparse)
    far, near = self.rope_parameters.full_attention, self.rope_parameters.sliding_attention
    return Gemma3n(
      **self._common(5),
      hidden=wide[0],
      final_softcap=self.final_logit_softcapping,
      rope_base=far.rope_theta or self.rope_theta,
      local_rope_base=near.rope_theta or self.rope_local_base_freq,
      shared_layers=self.num_kv_shared_layers,
      coefficient_clip=self.altup_coef_clip,
      laurel_rank=self.laurel_rank,
      sparsity=tuple(sparsity) if any(sparsity) else (),
    )


class Gemma4Whole(Whole):
  """`model_type` gemma4, which also sees and hears."""

  text_config: Gemma4Text = Gemma4Text()


class Gemma3nWhole(Whole):
  """`model_type` gemma3n, which also sees and hears."""

  text_config: Gemma3nText = Gemma3nText()


KINDS: dict[str, type[Whole]] = {
  'gemma3n_text': Gemma3nText,
  'gemma3n': Gemma3nWhole,
  'gemma4_text': Gemma4Text,
  'gemma4': Gemma4Whole,
}
"""By `model_type`."""


def write(c: Gemma3n | Gemma4) -> dict[str, Any]:
  """The fields of `config.json` that give this architecture.

  Raises:
    CheckpointError: Hugging Face has no model like that; the message names the field.
  """
  local = [c.is_local(layer) for layer in range(c.layers)]
  out = {
    'vocab_size': c.vocab_size,
    'hidden_size': c.width,
    'num_hidden_layers': c.layers,
    'num_attention_heads': c.heads,
    'num_key_value_heads': c.kv_heads,
    'head_dim': c.head_width,
    'hidden_activation': 'gelu_pytorch_tanh',
    'rms_norm_eps': 1e-6,
    'attention_bias': False,
    'attention_dropout': 0.0,
    'tie_word_embeddings': True,
    'sliding_window': c.window,
    'layer_types': ['sliding_attention' if x else 'full_attention' for x in local],
    'final_logit_softcapping': c.final_softcap,
    'vocab_size_per_layer_input': c.vocab_size,
    'hidden_size_per_layer_input': c.per_layer_width,
    'num_kv_shared_layers': c.shared_layers,
  }
  return out | (_write_gemma4(c, local) if isinstance(c, Gemma4) else _write_gemma3n(c))


def _write_gemma4(c: Gemma4, local: list[bool]) -> dict[str, Any]:
  must = {
    'pattern': not local[-1],
    'global_kv_heads': c.keys_are_values or c.global_kv_heads == c.kv_heads,
    'shared_hidden': not c.shared_layers or c.shared_hidden in (None, c.hidden, 2 * c.hidden),
  }
  if wrong := [name for name, fits in must.items() if not fits]:
    raise CheckpointError(f"{wrong[0]}={getattr(c, wrong[0])}: Hugging Face's gemma4 models cannot have that")
  turned = {'rope_type': 'proportional', 'partial_rotary_factor': c.global_rope_share, 'rope_theta': c.rope_base}
  return {
    'architectures': ['Gemma4ForCausalLM'],
    'model_type': 'gemma4_text',
    'intermediate_size': c.hidden,
    'rope_parameters': {
      'full_attention': turned,
      'sliding_attention': {'rope_type': 'default', 'rope_theta': c.local_rope_base},
    },
    'attention_k_eq_v': c.keys_are_values,
    'use_double_wide_mlp': bool(c.shared_layers and c.shared_hidden == 2 * c.hidden),
    'global_head_dim': c.global_head_width,
    'num_global_key_value_heads': c.global_kv_heads if c.keys_are_values else None,
    'enable_moe_block': bool(c.experts),
    'num_experts': c.experts or None,
    'top_k_experts': c.chosen_experts or None,
    'moe_intermediate_size': c.expert_hidden or None,
    'max_position_embeddings': 131_072,
  }


def _write_gemma3n(c: Gemma3n) -> dict[str, Any]:
  if c.final_softcap is None:
    raise CheckpointError("final_softcap=None: Hugging Face's gemma3n models must have one; the published ones, 30")
  return {
    'architectures': ['Gemma3nForCausalLM'],
    'model_type': 'gemma3n_text',
    'intermediate_size': c.hidden,
    'rope_parameters': {
      'full_attention': {'rope_type': 'default', 'rope_theta': c.rope_base},
      'sliding_attention': {'rope_type': 'default', 'rope_theta': c.local_rope_base},
    },
    'altup_active_idx': 0,
    'altup_coef_clip': c.coefficient_clip,
    'altup_correct_scale': True,
    'altup_num_inputs': STREAMS,
    'laurel_rank': c.laurel_rank,
    'activation_sparsity_pattern': list(c.sparsity or (0.0,) * c.layers),
    'max_position_embeddings': 32_768,
  }


def _shortest(pattern: tuple[str, ...]) -> tuple[str, ...]:
  """The shortest pattern that, repeated, gives this one."""
  lengths = range(1, len(pattern) + 1)
  return next(p for n in lengths if all(t == (p := pattern[:n])[i % n] for i, t in enumerate(pattern)))
