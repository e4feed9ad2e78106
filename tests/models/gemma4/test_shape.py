"""The numbers of Gemma 3n and 4, which plans and budgets go by: no JAX, no library."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import runpy

import pytest

from sweb_jax.budget.flops import draw_flops, read_flops
from sweb_jax.models import families
from sweb_jax.models.decoder import DecoderError
from sweb_jax.models.gemma4.config import SIZES, Gemma4
from sweb_jax.models.source import CheckpointError, open_model

SMALL = runpy.run_path(str(pathlib.Path(__file__).with_name('small.py')))['SMALL']


def test_a_token_is_multiplied_with_the_chosen_experts_only():
  c = SMALL['experts']
  local = 48 * 16 * (2 * 4 + 2 * 2)
  whole = 48 * 32 * (2 * 4 + 2)  # Its keys are its values too.
  expert, router, dense = 3 * 48 * 24, 48 * 6, 3 * 48 * 40
  assert c.matrix_parameters == local + whole + 2 * (2 * expert + router + dense)
  assert c.parameters - c.active_parameters == 2 * (6 - 2) * expert


def test_a_table_by_layer_is_looked_up_and_the_keys_of_others_are_not_made():
  c = SMALL['by_layer']
  table, idle = 97 * 4 * 8, (2 * 2 * 48 * 16 + 16) + (2 * 2 * 48 * 32 + 32)
  assert c.parameters - c.active_parameters == table + idle
  assert [a.cached for a in c.attention] == [True, True, False, False]
  assert [c.source(layer) for layer in range(4)] == [0, 1, 0, 1]
  assert [(a.kv_heads, a.head_width, a.window) for a in c.attention[:2]] == [(2, 16, 6), (2, 32, None)]


def test_a_drawn_token_costs_what_it_is_multiplied_with_and_the_keys_it_sees():
  c = SMALL['experts']
  keys = 4 * 4 * (16 * 6 + 32 * 40)  # The local layer sees 6 of 40 tokens, the global one all.
  assert draw_flops(c, 40, 1) == 2 * (c.matrix_parameters + 97 * 48) + keys
  assert read_flops(c, 0, 9) == read_flops(c, 0, 4) + read_flops(c, 4, 5)


@pytest.mark.parametrize(
  ('size', 'layers', 'shared'),
  [('gemma4_e2b', 10, 5), ('gemma4_e2b', 15, 10), ('gemma4_e2b', 5, 0), ('gemma4_e4b', 12, 6), ('gemma4_31b', 6, 0),
   ('gemma3n_e4b', 10, 5)],
)  # fmt: skip
def test_a_shortened_model_shares_keys_in_as_large_a_part_of_its_layers(size, layers, shared):
  whole = SIZES[size]
  short = whole.shortened(layers)
  assert (short.layers, short.shared_layers) == (layers, shared)
  assert short.attention[: layers - shared] == whole.attention[: layers - shared]
  assert whole.shortened(whole.layers) is whole


@pytest.mark.parametrize('config', [*SMALL.values(), *SIZES.values()], ids=[*SMALL, *SIZES])
def test_an_architecture_comes_back_from_its_fields(config):
  found = families.from_fields(json.loads(json.dumps(dataclasses.asdict(config))))
  assert found == config and hash(found) == hash(config) and type(found) is type(config)


@pytest.mark.parametrize(
  ('kind', 'changes', 'message'),
  [
    ('by_layer', {'shared_layers': 1}, 'shared_layers=1: the two layers before them must be a local and a global one'),
    ('by_layer', {'shared_layers': 3}, 'shared_layers=3'),
    ('dense', {'global_kv_heads': 3}, '3 key heads of layer 1 must divide heads=4'),
    ('dense', {'head_width': 15}, 'head_width=15 must be even'),
    ('experts', {'chosen_experts': 7}, 'chosen_experts=7 must be from 1 to experts=6'),
    ('experts', {'expert_hidden': 0}, 'experts=6 with expert_hidden=0: give both or neither'),
    ('gemma3n', {'kv_heads': 4}, 'kv_heads=4 must be fewer than heads=4'),
    ('gemma3n', {'sparsity': (0.5,)}, 'sparsity has 1 entries for layers=4'),
    ('gemma3n', {'per_layer_width': 0}, 'per_layer_width must be positive'),
    ('gemma3n', {'experts': 4}, 'experts'),
  ],
)
def test_numbers_that_do_not_fit_together_are_errors_that_name_them(kind, changes, message):
  fields = dataclasses.asdict(SMALL[kind]) | changes
  with pytest.raises((TypeError, ValueError), match=message):
    families.from_fields(fields)


def test_only_the_library_computes_them():
  assert families.implement(SMALL['dense'], 'gemma') is SMALL['dense']
  with pytest.raises(DecoderError, match=r"Gemma4 is computed by the gemma library alone; set config\.implem"):
    families.implement(SMALL['dense'], 'native')


def test_a_size_that_the_library_has_not_is_refused_by_name():
  with pytest.raises(CheckpointError, match="'size:gemma4_12b': Gemma 4 12B is none of the sizes of the gemma library"):
    open_model('size:gemma4_12b')
  assert isinstance(open_model('size:gemma4_e2b').config, Gemma4)
