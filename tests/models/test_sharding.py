from __future__ import annotations

import json
import pathlib
import socket
import subprocess

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from sweb_jax.models import sharding
from sweb_jax.models.gemma import transformer
from sweb_jax.models.gemma.config import SIZES, ModelConfig
from sweb_jax.models.sharding import MeshError
from tests import forked


def on_eight_devices(body: str) -> dict:
  """What `body` prints as JSON, run in a process with 8 simulated devices."""
  setup = "import json, jax\njax.config.update('jax_platforms', 'cpu')\njax.config.update('jax_num_cpu_devices', 8)\n"
  done = forked.run('-c', setup + body)
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout)


RULES = '''
from sweb_jax.models import sharding
from sweb_jax.models.gemma import transformer
from sweb_jax.models.gemma.config import SIZES, ModelConfig

def specs(config, **axes):
  mesh = sharding.make_mesh(**axes)
  tree = sharding.for_params(transformer.shapes(config), mesh)
  layer = jax.tree_util.tree_leaves_with_path({'layer_0': tree['layer_0'], 'embedder': tree['embedder']})
  return {jax.tree_util.keystr(k, simple=True, separator='/'): list(v.spec) for k, v in layer}

odd = ModelConfig(97, 32, 64, 1, 3, 1, 16)
print(json.dumps({
  'gemma2_9b': specs(SIZES['gemma2_9b'], fsdp=2, tensor=4),
  'gemma_7b': specs(SIZES['gemma_7b'], fsdp=2, tensor=4),
  'odd': specs(odd, fsdp=4, tensor=2),
  'left': dict(sharding.make_mesh(data=-1, tensor=2).shape),
}))
'''


@pytest.fixture(scope='module')
def rules() -> dict:
  return on_eight_devices(RULES)


def test_a_large_models_weights_are_split_over_fsdp_and_tensor(rules):
  found = rules['gemma2_9b']
  norms = {k: v for k, v in found.items() if k.endswith('scale')}
  assert len(norms) == 4 and all(v in ([], [None]) for v in norms.values())  # Small: on every device.
  assert {k: v for k, v in found.items() if k not in norms} == {
    'embedder/input_embedding': ['tensor', 'fsdp'],
    'layer_0/attn/q_einsum/w': ['tensor', 'fsdp', None],
    'layer_0/attn/kv_einsum/w': [None, 'tensor', 'fsdp', None],
    'layer_0/attn/attn_vec_einsum/w': ['tensor', None, 'fsdp'],
    'layer_0/mlp/gating_einsum': [None, 'tensor', 'fsdp'],
    'layer_0/mlp/linear': ['tensor', 'fsdp'],
  }
  assert rules['gemma_7b']['layer_0/attn/qkv_einsum/w'] == [None, 'tensor', 'fsdp', None]
  assert rules['gemma_7b']['layer_0/mlp/gating_einsum'] == [None, 'fsdp', 'tensor']  # [2, D, F], not [2, F, D].


def test_an_axis_that_does_not_divide_a_dimension_is_dropped_there(rules):
  found = rules['odd']
  assert found['embedder/input_embedding'] == [None, 'fsdp']  # 97 rows.
  assert found['layer_0/attn/q_einsum/w'] == [None, 'fsdp', None]  # 3 heads.
  assert found['layer_0/attn/kv_einsum/w'] == [None, None, 'fsdp', None]  # 1 KV head.
  assert found['layer_0/mlp/linear'] == ['tensor', 'fsdp']


def test_data_minus_1_takes_the_devices_that_are_left(rules):
  assert rules['left'] == {'data': 4, 'fsdp': 1, 'tensor': 2}


PLACE = '''
import jax.numpy as jnp
from sweb_jax.models import sharding
meshes = [{}, {'data': 2}, {'fsdp': 2}, {'fsdp': 2, 'tensor': 2}]
spend = jax.jit(lambda x: x + 1, donate_argnums=0)
spent = []
for source in [None, *meshes]:
  for target in meshes:
    tree = {'mlp': {'linear': jnp.arange(64.0).reshape(8, 8)}}
    if source is not None:
      tree = sharding.place(tree, sharding.make_mesh(**source))
    placed = sharding.place(tree, sharding.make_mesh(**target))
    spend(placed['mlp']['linear'])
    assert placed['mlp']['linear'].is_deleted()
    if tree['mlp']['linear'].is_deleted() or float(tree['mlp']['linear'][7, 7]) != 63:
      spent.append([source, target])
print(json.dumps(spent))
'''


def test_placed_parameters_can_be_donated_and_leave_their_source_alone():
  """Also between meshes that share some devices."""
  assert on_eight_devices(PLACE) == []


LOAD = '''
import numpy as np
from sweb_jax.models import checkpoint, sharding
from sweb_jax.models.gemma import transformer
from sweb_jax.models.gemma.config import ModelConfig
config = ModelConfig(64, 32, 64, 2, 4, 2, 16)
path = 'PATH'
rng = np.random.default_rng(0)
params = jax.tree.map(lambda x: jax.numpy.asarray(rng.random(x.shape, np.float32)), transformer.shapes(config))
checkpoint.save(path, params)
found = {}
for axes in ({'fsdp': 8}, {'fsdp': 4, 'tensor': 2}, {'data': 2, 'fsdp': 2, 'tensor': 2}):
  mesh = sharding.make_mesh(**axes)
  loaded = checkpoint.load(path, config, mesh)
  wanted = sharding.for_params(transformer.shapes(config), mesh)
  rows = {}
  for (name, x), where, right in zip(
    jax.tree_util.tree_leaves_with_path(loaded), jax.tree.leaves(wanted), jax.tree.leaves(params), strict=True
  ):
    rows[jax.tree_util.keystr(name)] = {
      'as asked': x.sharding == where,
      'equal': bool((jax.device_get(x) == jax.device_get(right)).all()),
      'parts': sorted({s.data.size / x.size for s in x.addressable_shards}),
      'devices': len({s.device for s in x.addressable_shards}),
    }
  found['x'.join(map(str, mesh.shape.values()))] = rows
print(json.dumps(found))
'''


@pytest.mark.parametrize(('mesh', 'part'), [('1x8x1', 1 / 8), ('1x4x2', 1 / 8), ('2x2x2', 1 / 4)])
def test_invariant_7_a_restored_checkpoint_lies_on_the_shardings_asked_for(loaded, mesh, part):
  for name, row in loaded[mesh].items():
    assert row['as asked'] and row['equal'] and row['devices'] == 8, name
    if 'norm' in name:
      assert row['parts'] == [1.0]
    else:  # Each device holds its part of a large parameter and no more.
      assert row['parts'] == [part], name


@pytest.fixture(scope='module')
def loaded(tmp_path_factory) -> dict:
  return on_eight_devices(LOAD.replace('PATH', str(tmp_path_factory.mktemp('checkpoint') / 'params')))


def test_weights_move_to_the_meshes_to_draw_on_from_shard_to_shard():
  with socket.socket() as s:
    s.bind(('', 0))
    address = f'127.0.0.1:{s.getsockname()[1]}'
  script = pathlib.Path(__file__).with_name('move_weights.py')
  processes = [
    forked.Forked([script, i, address], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for i in range(2)
  ]
  try:
    outputs = [p.communicate(timeout=150) for p in processes]
  finally:
    for p in processes:
      p.kill()
  assert [p.returncode for p in processes] == [0, 0], outputs
  for out, _ in outputs:
    found = [line for line in out.splitlines() if ' x (' in line]  # Gloo speaks on standard output too.
    assert found == ['a slice: 1 x (4, 1, 2)', 'hosts: 2 x (1, 2, 2)', 'another order: 1 x (4, 1, 2)']


def test_more_devices_than_there_are_is_an_error_that_names_the_axes():
  with pytest.raises(MeshError, match=r'config\.mesh asks for data=3 x fsdp=500 x tensor=1 = 1500 devices; there are'):
    sharding.make_mesh(data=3, fsdp=500)


def test_rows_that_do_not_divide_are_an_error_that_names_the_field():
  mesh = jax.sharding.AbstractMesh((2, 3, 5), sharding.AXES)
  sharding.check_rows(12, mesh, 'slots')
  with pytest.raises(MeshError, match=r'slots=8 does not divide over data x fsdp = 6 .* multiple of 6'):
    sharding.check_rows(8, mesh, 'slots')


def test_the_state_of_the_optimiser_lives_where_its_parameter_does():
  config = ModelConfig(64, 32, 64, 1, 4, 2, 16)
  mesh = jax.sharding.AbstractMesh((1, 2, 2), sharding.AXES)
  shapes = transformer.shapes(config)
  state = {'mu': shapes, 'count': jax.ShapeDtypeStruct((), jnp.int32)}
  where = sharding.for_params(state, mesh)
  assert where['mu'] == sharding.for_params(shapes, mesh)
  assert where['count'].spec == PartitionSpec()


@pytest.mark.parametrize('name', ['gemma_2b', 'gemma2_2b', 'gemma2_27b', 'gemma3_27b'])
def test_no_large_parameter_of_a_named_size_is_left_whole_on_a_pod_slice(name):
  mesh = jax.sharding.AbstractMesh((1, 16, 1), sharding.AXES)
  shapes = transformer.shapes(SIZES[name])
  for x, where in zip(jax.tree.leaves(shapes), jax.tree.leaves(sharding.for_params(shapes, mesh)), strict=True):
    if x.size > 1_000_000:
      assert 'fsdp' in where.spec
