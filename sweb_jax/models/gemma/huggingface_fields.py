"""What a Hugging Face `config.json` of a Gemma may say: fields, types, ranges, and the defaults of what it leaves out.

Published configs leave fields out, and the classes of transformers (`GemmaConfig`, `Gemma2Config`, `Gemma3TextConfig`,
`Gemma3Config`) fill them in; the defaults here are theirs, and a test compares them field by field. A field that would
change the numbers in a way that this project does not compute has one value it may have, so that any other is refused
by name. Fields that change no number (dropout, cache, initialisation, token names) are not listed and not read.
"""

from __future__ import annotations

import typing
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field, model_validator

from sweb_jax.models.gemma.shape import Base, Cap, Epsilon, Layers, Scale, Size, Window

TokenIds = int | list[int] | None
LayerTypes = Annotated[list[Literal['full_attention', 'sliding_attention']], Field(min_length=1, max_length=1000)]


class JsonObject(pydantic.BaseModel):
  """A JSON object, in which null counts as left out, but where it means none (`final_logit_softcapping`)."""

  model_config = pydantic.ConfigDict(strict=True, extra='ignore', allow_inf_nan=False, frozen=True)

  @model_validator(mode='before')
  @classmethod
  def _without_nulls(cls, found: Any) -> Any:
    if not isinstance(found, dict):
      return found
    return {name: value for name, value in found.items() if value is not None or _may_be_none(cls, name)}


def _may_be_none(kind: type[pydantic.BaseModel], name: str) -> bool:
  field = kind.model_fields.get(name)
  return field is not None and type(None) in (field.annotation, *typing.get_args(field.annotation))


class Rope(JsonObject):
  """`rope_scaling`, or `rope_parameters` (of one kind of layer in Gemma 3). What else it says is refused."""

  model_config = pydantic.ConfigDict(extra='forbid')

  rope_type: Literal['default', 'linear'] = 'default'
  type: str | None = None
  factor: Scale | None = None
  rope_theta: Base | None = None

  @model_validator(mode='after')
  def _agrees(self) -> Rope:
    if self.type not in (None, self.rope_type):
      raise ValueError(f'type={self.type!r} differs from rope_type={self.rope_type!r}; say rope_type alone')
    if (self.factor is None) != (self.rope_type == 'default'):
      raise ValueError(f'rope_type={self.rope_type!r} with factor={self.factor}: linear needs one, default has none')
    return self


class PlainRope(Rope):
  """Without scaling."""

  rope_type: Literal['default'] = 'default'


class LayerRopes(JsonObject):
  """`rope_parameters` of Gemma 3, by kind of layer."""

  model_config = pydantic.ConfigDict(extra='forbid')

  full_attention: Rope = Rope()
  sliding_attention: PlainRope = PlainRope()


class Whole(JsonObject):
  """What any level of a config may say of the whole model."""

  tie_word_embeddings: Literal[True] = True
  quantization_config: None = None
  per_layer_config: None = None
  bos_token_id: TokenIds = None
  eos_token_id: TokenIds = None
  pad_token_id: TokenIds = None


class Gemma(Whole):
  """`model_type` gemma, and what the later ones share with it."""

  vocab_size: Size = 256_000
  hidden_size: Size = 3072
  intermediate_size: Size = 24_576
  num_hidden_layers: Layers = 28
  num_attention_heads: Size = 16
  num_key_value_heads: Size = 16
  head_dim: Size = 256
  rms_norm_eps: Epsilon = 1e-6
  # The first Gemma's configs say gelu and mean the tanh form; later ones may still have the field, which they ignore.
  hidden_act: Literal['gelu_pytorch_tanh', 'gelu'] = 'gelu_pytorch_tanh'
  hidden_activation: Literal['gelu_pytorch_tanh'] = 'gelu_pytorch_tanh'
  attention_bias: Literal[False] = False
  use_bidirectional_attention: Literal[False] = False
  partial_rotary_factor: Annotated[float, Field(ge=1, le=1)] = 1.0
  rope_theta: Base = 10_000.0
  rope_parameters: PlainRope = PlainRope()
  rope_scaling: PlainRope | None = None


class Gemma2(Gemma):
  """`model_type` gemma2."""

  hidden_size: Size = 2304
  intermediate_size: Size = 9216
  num_hidden_layers: Layers = 26
  num_attention_heads: Size = 8
  num_key_value_heads: Size = 4
  query_pre_attn_scalar: Annotated[float, Field(ge=1e-6, le=1e9)] = 256.0
  sliding_window: Window | None = 4096
  layer_types: LayerTypes | None = None
  attn_logit_softcapping: Cap | None = 50.0
  final_logit_softcapping: Cap | None = 30.0


class Gemma3Text(Gemma2):
  """`model_type` gemma3_text."""

  vocab_size: Size = 262_208
  sliding_window_pattern: Layers = 6
  attn_logit_softcapping: None = None  # transformers takes it and does not apply it.
  final_logit_softcapping: Cap | None = None
  rope_theta: Base = 1_000_000.0
  rope_local_base_freq: Base = 10_000.0
  rope_parameters: LayerRopes = LayerRopes()
  rope_scaling: Rope | None = None


class Gemma3TextPart(Gemma3Text):
  """`text_config` of `model_type` gemma3."""

  model_type: Literal['gemma3_text'] = 'gemma3_text'
  final_logit_softcapping: None = None  # As the attention's.


class Gemma3(Whole):
  """`model_type` gemma3, which also sees."""

  text_config: Gemma3TextPart = Gemma3TextPart()


KINDS: dict[str, type[Whole]] = {'gemma': Gemma, 'gemma2': Gemma2, 'gemma3_text': Gemma3Text, 'gemma3': Gemma3}
"""By `model_type`."""
