"""Hugging Face's `config.json` as transformers understands it: defaults, nulls, forms of RoPE, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sweb_jax.models.gemma import huggingface_config, huggingface_fields
from sweb_jax.models.gemma.config import SIZES, named_size
from sweb_jax.models.reading import CheckpointError

CLASSES = {
  'gemma': 'GemmaConfig', 'gemma2': 'Gemma2Config', 'gemma3_text': 'Gemma3TextConfig', 'gemma3': 'Gemma3Config',
}  # fmt: skip
READ, REFUSED, PASSED_OVER, PART = 'read', 'refused', 'passed over', 'a part'
# What is done with each field of transformers' classes; a field that a later version adds fails the test by its name.
SHARED = {
  # Names, versions, classes for other tasks, and how to run: no number depends on them.
  **dict.fromkeys(
    ('transformers_version', 'architectures', 'output_hidden_states', 'return_dict', 'dtype', 'chunk_size_feed_forward',
     'is_encoder_decoder', 'id2label', 'label2id', 'problem_type', 'initializer_range'), PASSED_OVER,
  ),
  'tie_word_embeddings': REFUSED,
}  # fmt: skip
TEXT = SHARED | {
  **dict.fromkeys(
    ('vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads',
     'num_key_value_heads', 'head_dim', 'rms_norm_eps', 'rope_parameters', 'bos_token_id', 'eos_token_id',
     'pad_token_id'), READ,
  ),
  **dict.fromkeys(('attention_bias', 'use_bidirectional_attention'), REFUSED),
  # Neither a cache nor dropout while training changes a logit; positions have no limit.
  **dict.fromkeys(('max_position_embeddings', 'use_cache', 'attention_dropout'), PASSED_OVER),
}  # fmt: skip
LATER = TEXT | {'hidden_activation': REFUSED} | dict.fromkeys(
  ('query_pre_attn_scalar', 'sliding_window', 'layer_types', 'final_logit_softcapping', 'attn_logit_softcapping'), READ
)  # fmt: skip
FIELDS = {
  'gemma': TEXT | {'hidden_act': REFUSED},
  'gemma2': LATER,
  'gemma3_text': LATER | {'attn_logit_softcapping': REFUSED},
  'gemma3': SHARED | {'text_config': PART} | dict.fromkeys(
    ('vision_config', 'mm_tokens_per_image', 'boi_token_index', 'eoi_token_index', 'image_token_index'), PASSED_OVER),
}  # fmt: skip
OTHER = {
  'vocab_size': 128, 'hidden_size': 48, 'intermediate_size': 80, 'num_hidden_layers': 3, 'num_attention_heads': 32,
  'num_key_value_heads': 2, 'head_dim': 64, 'rms_norm_eps': 1e-5, 'query_pre_attn_scalar': 144, 'sliding_window': 7,
  'final_logit_softcapping': 12.5, 'attn_logit_softcapping': 12.5, 'bos_token_id': 5, 'eos_token_id': [6, 7],
  'pad_token_id': 8, 'tie_word_embeddings': False, 'attention_bias': True, 'use_bidirectional_attention': True,
  'hidden_act': 'silu', 'hidden_activation': 'gelu',
  'initializer_range': 0.5, 'max_position_embeddings': 77, 'use_cache': False, 'attention_dropout': 0.5,
}  # fmt: skip
"""A value of each field that is none's default."""


def read(tmp_path, **fields: Any):
  (tmp_path / 'config.json').write_text(json.dumps(fields))
  return huggingface_config.read(tmp_path)


@pytest.fixture
def classes():
  transformers = pytest.importorskip('transformers')
  return {kind: getattr(transformers, name) for kind, name in CLASSES.items()}


@pytest.mark.parametrize('kind', CLASSES)
def test_each_field_of_transformers_is_read_refused_or_passed_over_and_has_its_default(kind, classes, tmp_path):
  default, ours = classes[kind](), huggingface_fields.KINDS[kind]()
  plain = read(tmp_path, model_type=kind)
  for field in dataclasses.fields(classes[kind]):
    name = field.name
    what = FIELDS[kind][name]
    # The classes make those from other fields; they are compared below. Ids are those of the tokenizer.
    made = name in ('rope_parameters', 'layer_types') or name.endswith('_token_id')
    if what in (READ, REFUSED) and not made:
      assert (getattr(ours, name) or None) == (getattr(default, name) or None), name
    if what == PASSED_OVER and name in OTHER:
      assert read(tmp_path, model_type=kind, **{name: OTHER[name]}) == plain, name
    elif what == REFUSED:
      with pytest.raises(CheckpointError, match=rf'config\.json: {name}=.*not supported'):
        read(tmp_path, model_type=kind, **{name: OTHER[name]})
    elif what == READ and name.endswith('_token_id'):
      read(tmp_path, model_type=kind, **{name: OTHER[name]})
      said = OTHER[name]
      assert huggingface_config.control_ids(tmp_path) == {name[:3]: said if isinstance(said, list) else [said]}
    elif what == READ and name in OTHER:
      assert read(tmp_path, model_type=kind, **{name: OTHER[name]}) != plain, name


def theirs(config: Any, kind: str) -> dict[str, Any]:
  """What a config object of transformers says, in our terms."""
  ropes = config.rope_parameters
  far, near = (ropes['full_attention'], ropes['sliding_attention']) if kind == 'gemma3_text' else (ropes, ropes)
  out = dict(
    vocab_size=config.vocab_size,
    width=config.hidden_size,
    hidden=config.intermediate_size,
    layers=config.num_hidden_layers,
    heads=config.num_attention_heads,
    kv_heads=config.num_key_value_heads,
    head_width=config.head_dim,
    norm_eps=config.rms_norm_eps,
    rope_base=far['rope_theta'],
    rope_scale=far['factor'] if far['rope_type'] == 'linear' else 1.0,
  )
  if kind != 'gemma':
    out |= dict(
      local_rope_base=near['rope_theta'],
      local=[t == 'sliding_attention' for t in config.layer_types],
      window=config.sliding_window,
      attn_softcap=config.attn_logit_softcapping,
      final_softcap=config.final_logit_softcapping,
      query_scale=config.query_pre_attn_scalar**-0.5,
    )
  return out


def ours(config, kind: str) -> dict[str, Any]:
  found = dataclasses.asdict(config) | {'local': [config.is_local(i) for i in range(config.layers)]}
  found['query_scale'] = found['query_scale'] or config.head_width**-0.5
  assert config.qk_norm == (kind == 'gemma3_text') and config.post_norms == (kind != 'gemma')
  return found


def optional(value):
  return st.none() | value


BASES = st.sampled_from([1e4, 5e5, 1e6])
LINEAR = st.fixed_dictionaries({'rope_type': st.just('linear'), 'factor': st.sampled_from([2.0, 8.0])})
DEFAULT = st.fixed_dictionaries({'rope_type': st.just('default')}, optional={'rope_theta': BASES})
COMMON = {
  'vocab_size': optional(st.integers(3, 500)),
  'hidden_size': optional(st.sampled_from([64, 96])),
  'intermediate_size': optional(st.integers(1, 500)),
  'num_hidden_layers': optional(st.integers(1, 13)),
  'num_attention_heads': optional(st.sampled_from([16, 32])),
  'num_key_value_heads': optional(st.sampled_from([2, 4, 8])),
  'head_dim': optional(st.sampled_from([2, 16])),
  'rms_norm_eps': optional(st.sampled_from([1e-5, 1e-6])),
  'rope_theta': optional(BASES),
  'rope_scaling': st.none(),
  'rope_parameters': optional(DEFAULT),
  'attention_bias': optional(st.just(False)),
  'tie_word_embeddings': optional(st.just(True)),
}
COMMON2 = COMMON | {
  'query_pre_attn_scalar': optional(st.integers(1, 300)),
  'sliding_window': st.integers(1, 99),
  'attn_logit_softcapping': optional(st.floats(1, 99)),
  'final_logit_softcapping': optional(st.floats(1, 99)),
  'hidden_activation': optional(st.just('gelu_pytorch_tanh')),
}
FORMS = {
  'gemma': COMMON | {'hidden_act': optional(st.sampled_from(['gelu', 'gelu_pytorch_tanh']))},
  'gemma2': COMMON2,
  'gemma3_text': COMMON2 | {
    'attn_logit_softcapping': st.none(),
    'sliding_window_pattern': optional(st.integers(1, 15)),
    'rope_local_base_freq': optional(BASES),
    'rope_scaling': optional(LINEAR),
    'rope_parameters': optional(
      st.fixed_dictionaries({}, optional={'full_attention': DEFAULT | LINEAR, 'sliding_attention': DEFAULT})
    ),
  },
}  # fmt: skip
NONE_IS_A_VALUE = ('attn_logit_softcapping', 'final_logit_softcapping')


@settings(deadline=None, max_examples=150)
@given(
  st.sampled_from(sorted(FORMS)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.fixed_dictionaries({}, optional=FORMS[kind]))
  )
)
def test_any_config_of_the_forms_that_are_read_means_what_it_means_to_transformers(tmp_path_factory, case):
  transformers = pytest.importorskip('transformers')
  kind, fields = case
  if fields.get('rope_scaling') and fields.get('rope_parameters') is not None:
    assume('full_attention' in fields['rope_parameters'])  # transformers fails where only one of them is there.
  found = ours(read(tmp_path_factory.mktemp('x'), model_type=kind, **fields), kind)
  # transformers takes null where a class says so, and fails at others; they count as left out here.
  given = {k: v for k, v in fields.items() if v is not None or k in NONE_IS_A_VALUE}
  expected = theirs(getattr(transformers, CLASSES[kind])(**json.loads(json.dumps(given))), kind)
  assert {name: found[name] for name in expected} == expected


PUBLISHED_3 = {
  4: dict(hidden_size=2560, intermediate_size=10_240, num_hidden_layers=34),
  12: dict(
    hidden_size=3840, intermediate_size=15_360, num_hidden_layers=48, num_attention_heads=16, num_key_value_heads=8
  ),
  27: dict(
    hidden_size=5376, intermediate_size=21_504, num_hidden_layers=62, num_attention_heads=32, num_key_value_heads=16,
    head_dim=128, query_pre_attn_scalar=168,
  ),
}  # fmt: skip


@pytest.mark.parametrize('size', PUBLISHED_3)
def test_the_published_form_of_gemma_3_leaves_fields_out(size, tmp_path):
  text = PUBLISHED_3[size] | {
    'model_type': 'gemma3_text',
    'rope_scaling': {'factor': 8.0, 'rope_type': 'linear'},
    'sliding_window': 1024,
  }
  config = read(tmp_path, model_type='gemma3', text_config=text, eos_token_id=[1, 106], vision_config={'x': 1})
  expected = dataclasses.replace(SIZES[f'gemma3_{size}b'], vocab_size=262_208)
  assert config == expected and named_size(config) == f'gemma3_{size}b'
  assert huggingface_config.control_ids(tmp_path) == {'eos': [1, 106]}


YARN = {'rope_type': 'yarn', 'factor': 8.0, 'original_max_position_embeddings': 8192}
LINEAR_4 = {'rope_type': 'linear', 'factor': 4.0}


@pytest.mark.parametrize(
  ('kind', 'fields', 'message'),
  [
    # RoPE: only linear scaling of Gemma 3's global layers is computed.
    ('gemma', {'rope_scaling': LINEAR_4}, r"rope_scaling\.rope_type='linear': not supported, only 'default'"),
    ('gemma2', {'rope_parameters': LINEAR_4 | {'rope_theta': 1e4}}, r"rope_parameters\.rope_type='linear': not supp"),
    ('gemma2', {'rope_scaling': {'type': 'linear', 'factor': 4.0}}, r'rope_scaling.*type=.linear. differs from'),
    ('gemma2', {'rope_scaling': {'rope_type': 'dynamic', 'factor': 2.0}}, r"rope_type='dynamic': not supported"),
    ('gemma2', {'rope_parameters': {'full_attention': {'rope_type': 'default'}}}, r"full_attention' is unknown"),
    ('gemma3_text', {'rope_scaling': YARN}, r"rope_scaling\.rope_type='yarn': not supported"),
    ('gemma3_text', {'rope_scaling': {'type': 'linear', 'factor': 8.0}}, r'rope_scaling.*say rope_type alone'),
    ('gemma3_text', {'rope_parameters': {'full_attention': YARN}}, r"full_attention\.rope_type='yarn': not supp"),
    ('gemma3_text', {'rope_parameters': {'sliding_attention': LINEAR_4}}, r"sliding_attention\.rope_type='linear'"),
    ('gemma3_text', {'rope_parameters': LINEAR_4}, r"'rope_parameters\.(rope_type|factor)' is unknown"),
    ('gemma3_text', {'rope_scaling': {'rope_type': 'linear'}}, r'rope_type=.linear. with factor=None'),
    ('gemma3_text', {'rope_scaling': {'factor': 8.0}}, r'rope_type=.default. with factor=8'),
    ('gemma3_text', {'rope_scaling': LINEAR_4 | {'mscale': 2.0}}, r"'rope_scaling\.mscale' is unknown"),
    ('gemma2', {'partial_rotary_factor': 0.5}, r'partial_rotary_factor=0\.5'),
    # Parts that are not there.
    ('gemma3_text', {'use_bidirectional_attention': True}, 'use_bidirectional_attention=True: not supported'),
    ('gemma2', {'quantization_config': {'quant_method': 'bitsandbytes'}}, 'quantization_config=.*: not supported'),
    ('gemma3', {'quantization_config': {'bits': 4}}, 'quantization_config=.*: not supported'),
    ('gemma2', {'per_layer_config': {'0': {'head_dim': 8}}}, 'per_layer_config=.*: not supported'),
    ('gemma3', {'tie_word_embeddings': False}, 'tie_word_embeddings=False: not supported'),
    ('gemma3', {'text_config': {'attention_bias': True}}, r'text_config\.attention_bias=True: not supported'),
    ('gemma3', {'text_config': {'final_logit_softcapping': 30.0}}, r'text_config\.final_logit_softcapping=30\.0'),
    ('gemma3', {'text_config': {'model_type': 'llama'}}, r"text_config\.model_type='llama': not supported"),
    ('gemma', {'hidden_activation': 'gelu'}, "hidden_activation='gelu': not supported"),
    ('gemma2', {'hidden_act': 'relu'}, "hidden_act='relu': not supported"),
    ('gemma2', {'layer_types': ['full_attention', 'chunked_attention'] * 13}, r"layer_types\.1='chunked_attention'"),
    # Wrong types and values out of range.
    ('gemma2', {'num_hidden_layers': 10**9}, 'num_hidden_layers=1000000000: should be less than or equal to 1000'),
    ('gemma2', {'hidden_size': '2304'}, "hidden_size='2304': should be a valid integer"),
    ('gemma2', {'hidden_size': 2304.0}, r'hidden_size=2304\.0: should be a valid integer'),
    ('gemma2', {'hidden_size': [2304]}, r'hidden_size=\[2304\]: should be a valid integer'),
    ('gemma2', {'vocab_size': -1}, 'vocab_size=-1: should be greater than or equal to 1'),
    ('gemma2', {'num_key_value_heads': True}, 'num_key_value_heads=True: should be a valid integer'),
    ('gemma2', {'attn_logit_softcapping': float('nan')}, 'attn_logit_softcapping=nan: should be a finite number'),
    ('gemma2', {'final_logit_softcapping': 0.0}, r'final_logit_softcapping=0\.0: should be greater than 0'),
    ('gemma2', {'rope_theta': float('inf')}, 'rope_theta=inf: should be a finite number'),
    ('gemma2', {'rms_norm_eps': -1e-6}, 'rms_norm_eps=-1e-06: should be greater than 0'),
    ('gemma2', {'sliding_window': 0}, 'sliding_window=0: should be greater than or equal to 1'),
    ('gemma2', {'sliding_window': None}, 'a pattern with local layers needs a window'),
    ('gemma2', {'query_pre_attn_scalar': 0}, 'query_pre_attn_scalar=0: should be greater than or equal to'),
    ('gemma3_text', {'sliding_window_pattern': 0}, 'sliding_window_pattern=0: should be greater than or equal to 1'),
    ('gemma3_text', {'layer_types': ['full_attention']}, 'layer_types has 1 entries for num_hidden_layers=26'),
    ('gemma2', {'rope_parameters': 'yarn'}, 'rope_parameters=.yarn.: should be an object'),
    ('gemma3', {'text_config': [1]}, r'text_config=\[1\]: should be an object'),
    ('gemma2', {'eos_token_id': 'x'}, 'eos_token_id'),
    ('gemma2', {'head_dim': 255}, 'head_width=255 must be even'),
    ('gemma2', {'num_key_value_heads': 3}, 'heads=8 must be a multiple of kv_heads=3'),
  ],
)
def test_what_would_change_the_numbers_or_cannot_be_is_refused_by_name(kind, fields, message, tmp_path):
  with pytest.raises(CheckpointError, match=rf'config\.json: .*{message}'):
    read(tmp_path, model_type=kind, **fields)


@pytest.mark.parametrize('field', ['sliding_window_pattern', 'head_dim', 'rope_theta', 'layer_types', 'rms_norm_eps'])
def test_null_counts_as_left_out(field, tmp_path):
  assert read(tmp_path, model_type='gemma3_text', **{field: None}) == read(tmp_path, model_type='gemma3_text')


def test_null_is_none_where_transformers_has_it_for_a_value(tmp_path):
  config = read(tmp_path, model_type='gemma2', attn_logit_softcapping=None, final_logit_softcapping=None)
  assert config.attn_softcap is None and config.final_softcap is None
  assert read(tmp_path, model_type='gemma2').final_softcap == 30.0


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('[' * 90_000, 'not JSON that can be read: recursion limit'),
    ('{"a":' * 90_000, 'not JSON that can be read: recursion limit'),
    ('[{"model_type": "gemma2"}]', 'its root should be an object, not list'),
    ('null', 'its root should be an object, not NoneType'),
    ('', 'not JSON that can be read: EOF'),
    ('{"model_type": "gemma2", "vocab_size": 1' + '0' * 5000 + '}', 'not JSON that can be read: number out of range'),
    ('{"model_type": ["gemma2"]}', r"model_type is \['gemma2'\]; gemma, gemma2, .*, gemma4_text, gemma4 can be read"),
    ('{}', 'model_type is None'),
    (' ' * 1_000_001, 'has 1,000,001 bytes; a file of this kind has at most 1,000,000'),
  ],
)
def test_a_file_that_is_no_config_is_named(content, message, tmp_path):
  (tmp_path / 'config.json').write_text(content)
  with pytest.raises(CheckpointError, match=rf'config\.json: {message}'):
    huggingface_config.read(tmp_path)


def test_every_field_that_is_read_stands_in_the_docs():
  text = (pathlib.Path(__file__).parents[3] / 'docs/checkpoints.md').read_text()
  names = {name for kind in huggingface_fields.KINDS.values() for name in kind.model_fields}
  assert [name for name in sorted(names) if f'`{name}`' not in text] == []
