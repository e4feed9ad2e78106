"""What the TPU's own compiler makes of the steps of large models, two layers of them at full width."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweb_jax.budget import machines
from sweb_jax.lowering import hlo, slices
from sweb_jax.models import sharding
from sweb_jax.sampling import decode

ROOT = Path(__file__).parents[2]

needs_compiler = pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None, reason="needs the TPU's compiler: pip install -e '.[tpu]'"
)


@pytest.fixture(scope='module')
def compiled() -> dict:
  script = 'tests/lowering/lowering_on_slices.py'
  how = dict(cwd=ROOT, env=os.environ | {'PYTHONPATH': str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
  # The compiler works on one core most of the time.
  halves = [subprocess.Popen([sys.executable, script, half], text=True, **how) for half in ('one_slice', 'others')]
  said, found = [half.communicate() for half in halves], {}
  for half, (out, errors) in zip(halves, said, strict=True):
    assert half.returncode == 0, errors
    print(errors)
    found |= json.loads(out.splitlines()[-1])
  return found


@pytest.mark.slow
@needs_compiler
def test_every_step_compiles_for_a_slice_and_fits_without_all_logits(compiled):
  assert {name: x['fits'] for name, x in compiled.items()} == dict.fromkeys(compiled, True)
  # Of a model with so few pieces all are made.
  assert [name for name, x in compiled.items() if x['logits'] and not name.startswith('two slices')] == []


@pytest.mark.slow
@needs_compiler
def test_a_token_costs_two_sums_by_parts_a_layer_and_nothing_over_data_but_choices(compiled):
  # For v5p the compiler makes one of a layer's two sums step by step, beside its product.
  steps = {'v5e-64 se decode': 0, 'v6e-64 se decode': 0, 'v5p-64 se decode': 17}
  for name, count in steps.items():
    x = compiled[name]
    assert x['mesh']['fsdp'] == 1 and x['mesh']['tensor'] > 1, name
    # Rows are gathered before what sums of them are made of, and before the output layer.
    assert x['messages'].pop('reduce-scatter tensor') == (2 if count else 2 * 2), name
    assert x['messages'].pop('collective-permute tensor', 0) == 2 * count, name
    assert x['messages'].pop('all-gather tensor') <= 2 * 2 + 1 + 2, name
    # Embedding, and what the choice of a token compares.
    assert sum(x['messages'].values()) <= 8, name


@pytest.mark.slow
@needs_compiler
def test_kernels_can_be_turned_off(compiled):
  found = compiled['v5e-64 se decode'], compiled['v5e-64, no kernels: se decode']
  assert found[0]['kernels'] > 0 == found[1]['kernels']
  assert found[0]['times']['compute'] < found[1]['times']['compute']


@pytest.mark.slow
@needs_compiler
def test_the_kernel_for_attention_compiles_for_caches_of_all_shapes():
  script = 'tests/lowering/attention_on_slice.py'
  env = os.environ | {'PYTHONPATH': str(ROOT)}
  done = subprocess.run([sys.executable, script], cwd=ROOT, env=env, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert done.stdout.split() == ['5']


@pytest.mark.slow
@needs_compiler
def test_prompts_go_to_their_places_by_two_messages_a_layer(compiled):
  for name, gathers in (('v5e-64', {'all-gather data': 2 * 2}), ('v6e-64', {'all-gather data': 2 * 2}), ('v5p-64', {})):
    messages = compiled[f'{name} wc prefill']['messages']
    # What the last layer's attention gives is of no use, and not computed. Of v5p every host draws by itself.
    assert messages == {'all-reduce tensor': 1 + 2} | gathers, name


@pytest.mark.slow
@needs_compiler
def test_an_update_of_four_runs_exchanges_activations_a_layer_and_nothing_between_the_runs(compiled):
  x = compiled['v5e-64 student train']
  assert x['mesh'] == {'run': 4, 'data': 1, 'fsdp': 1, 'tensor': 16}
  # No more than were counted when each was looked at. A layer: two sums by parts and two gathers forward, as many back,
  # and some of those of the forward pass again.
  assert x['messages'].pop('reduce-scatter tensor') <= 2 * 5 + 1
  assert x['messages'].pop('all-gather tensor') <= 2 * 6 + 2
  assert x['messages'].pop('all-reduce tensor') <= 24  # Of numbers a token and of the loss.
  assert x['messages'] == {'all-reduce run': 1}  # The loss of each, to all.


@pytest.mark.slow
@needs_compiler
def test_of_two_slices_each_draws_by_itself_and_trainings_on_both_exchange_nothing_but_their_loss(compiled):
  drawn = compiled['two slices, as chosen: wc prefill']
  assert drawn['mesh'] == {'data': 16, 'fsdp': 1, 'tensor': 1}
  assert not any('slices' in kind for kind in drawn['messages'])
  runs, one = (compiled[f'two slices, {how}: student train'] for how in ('as chosen', 'by itself'))
  assert runs['mesh'] == {'run': 16, 'data': 2, 'fsdp': 1, 'tensor': 1}
  assert one['mesh'] == {'data': 32, 'fsdp': 1, 'tensor': 1}
  between = [{kind: n for kind, n in x['bytes'].items() if 'slices' in kind} for x in (runs, one)]
  assert between[0].keys() == between[1].keys() == {'all-reduce slices'}
  # Gradients; of runs the loss of each, which comes to all.
  assert between[0]['all-reduce slices'] < 1e4 < 1e5 < between[1]['all-reduce slices']


@needs_compiler
def test_on_a_tpu_a_completion_has_whole_tiles_of_columns_too():
  mesh = sharding.make_mesh(devices=slices.devices('v5e-4'))
  found = [decode.completion_columns(n, steps, mesh) for n, steps in ((1, 16), (1000, 16), (1024, 24))]
  assert found == [128, 1024, 1152]


PROGRAM = """
HloModule jit_f, is_scheduled=true

%less (p.1: (s32[], bf16[8])) -> pred[] {
  %p.1 = (s32[]{:T(128)}, bf16[8]{0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p.1), index=0
  %end = s32[]{:T(128)} constant(16)
  ROOT %c = pred[] compare(%i, %end), direction=LT
}

%body (p.2: (s32[], bf16[8])) -> (s32[], bf16[8]) {
  %p.2 = (s32[]{:T(128)}, bf16[8]{0}) parameter(0)
  %x = bf16[8]{0} get-tuple-element(%p.2), index=1
  %s = (bf16[8]{0}, bf16[16]{0}, u32[], u32[]) all-gather-start(%x), replica_groups=[2,2]<=[2,2]T(1,0), dimensions={0}
  %d = bf16[16]{0} all-gather-done(%s)
  %y = bf16[8]{0} fusion(%d), kind=kLoop, calls=%less, backend_config={"estimated_cycles":"300","x":[]}
  ROOT %t = (s32[], bf16[8]{0}) tuple(%x, %y)
}

ENTRY %main (a: bf16[8]) -> bf16[8] {
  %a = bf16[8]{0} parameter(0)
  %start = (s32[], bf16[8]{0}) tuple(%a, %a)
  %loop = (s32[]{:T(128)}, bf16[8]{0}) while(%start), condition=%less, body=%body
  %r = bf16[8]{0} all-reduce(%a), replica_groups={{2,3},{0,1}}, to_apply=%less
  %z = bf16[8]{0} convolution(%r, %r), backend_config={"estimated_cycles":"7"}
  ROOT %out = bf16[8]{0} get-tuple-element(%loop), index=1
}
"""


def test_cycles_and_messages_of_a_loop_count_as_often_as_its_condition_says():
  found = hlo.read(PROGRAM, by_condition=True)
  assert found.cycles == 16 * 300 + 7
  gather, reduce = sorted(found.messages, key=lambda m: m.kind)
  assert gather == hlo.Message('all-gather', 16, 32, (0, 2))  # Its result, 16 numbers of 2 bytes.
  assert reduce == hlo.Message('all-reduce', 1, 16, (2, 3))


KERNEL = '''
ENTRY %main (a: bf16[8]) -> bf16[8] {
  %a = bf16[8]{0} parameter(0)
  %o = bf16[8]{0} custom-call(%a), custom_call_target="Other", backend_config={"bytes_accessed":"5"}
  ROOT %k = bf16[8]{0} custom-call(%o), custom_call_target="tpu_custom_call", metadata={op_name="jit(f)"}, \
backend_config={"custom_call_config":{"body":"TUz=","cost_estimate":{"flops":"3","transcendentals":"0",\
"bytes_accessed":"27262976","remote_bytes_transferred":"0"},"needs_layout_passes":true}}
}
'''


def test_of_kernels_the_bytes_are_known_that_they_say_they_move():
  assert hlo.read(KERNEL).kernel_bytes == 27262976


PARTS = '''
HloModule jit_f, is_scheduled=true

%first (p.1: bf16[8]) -> bf16[16] {
  %p.1 = bf16[8]{0} parameter(0)
  ROOT %g.1 = bf16[16]{0} all-gather(%p.1), channel_id=7, replica_groups={{0,1}}, frontend_attributes={chain_id="1"}
}

%second (p.2: bf16[8]) -> bf16[16] {
  %p.2 = bf16[8]{0} parameter(0)
  ROOT %g.2 = bf16[16]{0} all-gather(%p.2), channel_id=7, replica_groups={{0,1}}, frontend_attributes={chain_id="1"}
}

%all-reduce-scatter.1.clone (p.3: f32[8]) -> f32[4] {
  %p.3 = f32[8]{0} parameter(0)
  %all = f32[8]{0} all-reduce(%p.3), channel_id=9, replica_groups={{0,1}}
  ROOT %mine = f32[4]{0} slice(%all), slice={[0:4]}
}

ENTRY %main (a: bf16[8], x: f32[8]) -> bf16[16] {
  %a = bf16[8]{0} parameter(0)
  %x = f32[8]{0} parameter(1)
  %d = f32[4]{0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.1.clone
  %b = bf16[16]{0} fusion(%a), kind=kCustom, calls=%first
  %c = bf16[16]{0} fusion(%a), kind=kCustom, calls=%second
  ROOT %g.3 = bf16[16]{0} all-gather(%a), channel_id=8, replica_groups={{0,1}}, dimensions={0}
}
'''


NETWORK = """
ENTRY %main (a: f32[8]) -> f32[8] {
  %a = f32[8]{0} parameter(0)
  %b = token[] after-all()
  %s.1 = (f32[8]{0}, u32[], token[]) send(%a, %b), channel_id=3, is_host_transfer=true, frontend_attributes={\
_xla_megascale_reduce_operation="SUM",_xla_megascale_target="{1,2,3,4}x{0:7}",_xla_megascale_transfer_type="ALL_REDUCE"}
  %r.1 = (f32[8]{0}, u32[], token[]) recv(%b), channel_id=4, is_host_transfer=true, frontend_attributes={\
_xla_megascale_reduce_operation="SUM",_xla_megascale_target="{1,2,3,4}x{0:7}",_xla_megascale_transfer_type="ALL_REDUCE"}
  %r.2 = (f32[32]{0}, u32[], token[]) recv(%b), channel_id=5, is_host_transfer=true, frontend_attributes={\
_xla_megascale_target="{1,2}x{0:7}",_xla_megascale_transfer_type="ALL_GATHER"}
  %r.3 = (f32[2]{0}, u32[], token[]) recv(%b), channel_id=6, is_host_transfer=true, frontend_attributes={\
_xla_megascale_target="{1,2}x{0:7}",_xla_megascale_transfer_type="OTHER"}
  %r.4 = (f32[2]{0}, u32[], token[]) recv(%b), channel_id=7, is_host_transfer=true
  ROOT %g = f32[16]{0} all-gather(%a), channel_id=8, replica_groups={{0,1}}, dimensions={0}
}
"""


def test_messages_between_slices_are_those_that_the_networks_runtime_brings():
  found = hlo.read(NETWORK)
  assert set(found.messages) == {
    hlo.Message('all-gather', 1, 64, (0, 1)),
    hlo.Message('all-reduce', 1, 32, (), 4),
    hlo.Message('all-gather', 1, 128, (), 2),
    hlo.Message('collective-permute', 1, 8, (), 2),
  }
  assert hlo.program(json.loads(json.dumps(dataclasses.asdict(found)))) == found


def test_a_message_that_is_sent_in_parts_beside_products_counts_once_and_a_sum_that_is_split_as_such():
  gather, scatter = hlo.Message('all-gather', 2, 32, (0, 1)), hlo.Message('reduce-scatter', 1, 16, (0, 1))
  assert set(hlo.read(PARTS).messages) == {gather, scatter}


def test_a_message_beside_other_work_counts_once_and_its_devices_may_be_named_by_axes():
  named = PROGRAM.replace('[2,2]<=[2,2]T(1,0)', "mesh['data'=2,'tensor'=2] {'data'}, channel_id=3")
  at = named.index('  %d = ')
  again = ''.join(line + '\n' for line in named.splitlines() if line.startswith('  %s = ')).replace('%s', '%s.1')
  for text in (named, named[:at] + again + named[at:]):
    gather, _ = sorted(hlo.read(text, by_condition=True).messages, key=lambda m: m.kind)
    assert gather == hlo.Message('all-gather', 16, 32, (0, 2))
  cut = {"{'tensor':(1)2}": (0, 2), "{'tensor':(2)2}": (0, 1), "{'data','tensor':(2)2}": (0, 1, 4, 5)}
  for axes, group in cut.items():
    parts = named.replace("['data'=2,'tensor'=2] {'data'}", f"['data'=2,'tensor'=4] {axes}")
    assert {m.group for m in hlo.read(parts).messages if m.kind == 'all-gather'} == {group}
  with pytest.raises(ValueError, match='a program of an unknown form: replica_groups=others'):
    hlo.read(named.replace('mesh[', 'others['))


def test_a_slice_that_does_not_exist_names_those_that_do():
  for name in ('v5e-63', '2xv5e-63', '0xv5e-64', '100xv5e-64', 'xv5e-64', '2x'):
    with pytest.raises(machines.SliceError, match=rf'--slice={name}: slices are v5e-4, .* 2xv5e-16'):
      slices.devices(name)
  assert slices.parse('v5e-64') == ('v5e', 64, 1)
  assert slices.parse('4xv5p-64') == ('v5p', 32, 4)


def test_a_compiler_that_is_missing_or_of_another_version_is_told_with_the_one_that_goes_with_jax(monkeypatch):
  real = importlib.metadata.version
  monkeypatch.setattr(importlib.metadata, 'version', lambda name: '0.0.1' if name == 'libtpu' else real(name))
  with pytest.raises(slices.CompilerError, match=r"libtpu 0\.0\.1 is installed, and this JAX goes with .*'\.\[tpu\]'"):
    slices.compiler()

  def missing(name):
    raise importlib.metadata.PackageNotFoundError(name)

  monkeypatch.setattr(importlib.metadata, 'version', missing)
  with pytest.raises(slices.CompilerError, match=r'is not installed; .* --devices=N --hosts=N'):
    slices.compiler()
