"""What the protocol keeps apart: names of parameters, families and libraries stay where they belong."""

from __future__ import annotations

import ast
import dataclasses
import json
import pathlib
import subprocess
import sys

import jax
import pytest

import sweb_jax
from sweb_jax.models import decoder, families
from sweb_jax.models.checkpoint import path_name
from sweb_jax.models.decoder import CachedDecoder, DecoderError
from sweb_jax.models.gemma.config import SIZES, ModelConfig

PACKAGE = pathlib.Path(sweb_jax.__file__).parent
SMALL = ModelConfig(97, 32, 64, 2, 4, 2, 16)


def modules(*folders: str) -> list[pathlib.Path]:
  """The modules in these folders; without any all but a family's, in a folder of `models/`, and the library's two."""
  if folders:
    return [p for f in folders for p in sorted((PACKAGE / f).rglob('*.py'))]
  found = [(p, p.relative_to(PACKAGE).parts) for p in sorted(PACKAGE.rglob('*.py'))]
  return [p for p, parts in found if parts[0] != 'models' or (len(parts) == 2 and not p.name.startswith('library'))]


def imported(path: pathlib.Path) -> set[str]:
  """Modules that a module imports, and what it takes of them."""
  return {
    name
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.ImportFrom)
    for name in [node.module, *(f'{node.module}.{a.name}' for a in node.names)]
  }


def parts_of_names() -> set[str]:
  """Of the names of all parameters, those that are no everyday words."""
  names = {path_name(path) for c in SIZES.values() for path, _ in jax.tree.leaves_with_path(c.shapes())}
  return {part for name in names for part in name.split('/') if '_' in part and not part.startswith('layer_')}


def test_no_module_outside_a_family_names_a_parameter():
  """Comments may."""
  parts = parts_of_names()
  assert {'input_embedding', 'q_einsum', 'qkv_einsum', 'gating_einsum', 'final_norm', '_key_norm'} <= parts
  found = [
    (path.name, node.lineno, part)
    for path in modules()
    for node in ast.walk(ast.parse(path.read_text()))
    for text in [getattr(node, name, None) for name in ('value', 'attr', 'id', 'arg')]
    if isinstance(text, str)
    for part in parts
    if part in text
  ]
  assert found == []


@pytest.mark.parametrize('folder', ['training', 'sampling', 'budget'])
def test_training_sampling_and_budgets_know_no_family(folder):
  names = set().union(*map(imported, modules(folder)))
  assert any(name.startswith('sweb_jax.models.decoder') for name in names)
  assert not [name for name in names if name.startswith('sweb_jax.models.gemma')]


def test_beside_a_family_two_modules_know_it_and_what_the_library_computes():
  knowing = [p for p in (PACKAGE / 'models').glob('*.py') if any('.gemma' in name for name in imported(p))]
  assert {p.name for p in knowing} == {'families.py', 'rules.py', 'library.py'}


def run(body: str) -> str:
  done = subprocess.run([sys.executable, '-c', body], capture_output=True, text=True, check=False, cwd=PACKAGE.parent)
  assert done.returncode == 0, done.stderr
  return done.stdout


def test_budgets_and_architectures_need_no_jax():
  body = """
import sys
import sweb_jax.budget
from sweb_jax.models import decoder, families
config = families.from_fields(dict(vocab_size=9, width=4, hidden=8, layers=1, heads=2, kv_heads=1, head_width=2))
assert families.implement(config, 'native') is config
print(sweb_jax.budget.flops.draw_flops(config, 4, 1) > 0, 'jax' in sys.modules)
"""
  assert run(body).split() == ['True', 'False']


def test_a_native_model_draws_and_trains_without_the_library():
  body = """
import sys
import jax, numpy as np
from sweb_jax.models import families, sharding
from sweb_jax.sampling import Engine, Request, Rule
from sweb_jax.training.data import Packer
from sweb_jax.training.step import Optimizer, start, train_step
config = families.from_fields(dict(vocab_size=9, width=4, hidden=8, layers=1, heads=2, kv_heads=1, head_width=2))
config, mesh = families.implement(config, 'native'), sharding.make_mesh()
params = config.init(jax.random.key(0))
engine = Engine(config, mesh, Rule(), stop_ids=(1,), prompt_length=4, max_new_tokens=2, slots=2, steps=2)
print(len(list(engine.run(params, [Request('p', 0, (2, 3))], key=jax.random.key(0)))))
optimizer, packer = Optimizer(), Packer([((2, 3, 4, 1), 2)], batch=1, steps=1, seed=0, row_length=8)
state, _ = train_step(
  start(params, optimizer, mesh), packer.batch(0), np.float32(0), config=config, optimizer=optimizer, mesh=mesh
)
print(*sorted({'jax', 'gemma', 'kauldron', 'tensorflow', 'flax'} & set(sys.modules)))
"""
  assert run(body).split() == ['1', 'jax']


def test_a_config_is_its_own_native_decoder():
  assert families.implement(SMALL, 'native') is SMALL
  assert not isinstance(SMALL, CachedDecoder)


def test_an_architecture_comes_back_from_its_fields():
  config = SIZES['gemma3_4b']
  fields = json.loads(json.dumps(dataclasses.asdict(config)))
  assert families.from_fields(fields) == config
  with pytest.raises((TypeError, ValueError), match='experts'):
    families.from_fields(fields | {'experts': 8})


def test_an_unknown_implementation_is_an_error_that_names_those_there_are():
  with pytest.raises(DecoderError, match="implementation='torch': implementations are native and gemma"):
    families.implement(SMALL, 'torch')


def test_a_rematerialisation_that_is_not_there_is_an_error_that_names_those_there_are():
  decoder.check_remat(SMALL, 'dots')
  with pytest.raises(DecoderError, match=r"config\.train\.remat='offload': .* 'native' can do 'none', 'dots', 'full'"):
    decoder.check_remat(SMALL, 'offload')
