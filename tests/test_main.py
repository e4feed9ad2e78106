"""The command: help, dry run, what it imports, and what it says to input that makes no sense."""

from __future__ import annotations

import ast
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sweb_jax
from sweb_jax import layout

PACKAGE = Path(sweb_jax.__file__).parent
HEAVY = {'jax', 'tensorflow', 'gemma', 'kauldron', 'torch', 'transformers'}


@pytest.fixture(scope='module')
def workdir(finished, tmp_path_factory):
  """A finished workdir that no refused command may change."""
  return shutil.copytree(finished.workdir, tmp_path_factory.mktemp('refused') / 'workdir')


def refused(run: subprocess.CompletedProcess) -> str:
  """The one message of a command that was refused."""
  assert run.returncode == 1, run.stdout + run.stderr
  assert 'Traceback' not in run.stdout + run.stderr
  messages = re.findall(r'^Error: .*', run.stderr, re.MULTILINE)
  assert len(messages) == 1, run.stderr
  return run.stderr[run.stderr.index(messages[0]) :]


# Help, dry run, imports -----------------------------------------------------------------------------------------------


def test_help_is_quick_and_imports_no_framework(command, tmp_path):
  begun = time.monotonic()
  run = command(tmp_path / 'workdir', '--help', modules=tmp_path / 'modules')
  assert time.monotonic() - begun < 20
  assert '--workdir' in run.stdout and 'dry_run' in run.stdout and 'python -m sweb_jax.main' in run.stdout
  modules = set((tmp_path / 'modules').read_text().split())
  assert 'absl.app' in modules
  assert not modules & HEAVY


@pytest.mark.parametrize(
  'names',
  [
    'sweb_jax',
    'sweb_jax.main sweb_jax.config',
    'sweb_jax.records',
    'sweb_jax.budget',
    'sweb_jax.answers',
    'sweb_jax.tasks sweb_jax.tasks.arithmetic sweb_jax.tasks.gsm8k sweb_jax.tasks.rendering',
    'sweb_jax.analysis sweb_jax.analysis.metrics sweb_jax.analysis.intervals',
  ],
)
def test_what_needs_no_device_imports_no_framework(names):
  code = 'import importlib, sys\nfor n in sys.argv[1:]: importlib.import_module(n)\nprint(*sys.modules)'
  run = subprocess.run([sys.executable, '-c', code, *names.split()], text=True, capture_output=True, check=True)
  modules = set(run.stdout.split())
  assert modules >= set(names.split())
  assert not modules & HEAVY


def test_a_whole_run_imports_jax_alone(finished):
  assert finished.modules & HEAVY == {'jax'}


def test_dry_run_prints_the_plan_and_writes_nothing(command, tmp_path):
  run = command(tmp_path / 'workdir', '--dry_run', JAX_COMPILATION_CACHE_DIR='')
  assert run.returncode == 0, run.stderr
  for word in ('jobs', 'samples', 'tokens', 'FLOPs', 'share of budget'):
    assert word in run.stdout
  # 40 problems; wc draws 30 for the price of 10 of se's.
  assert re.search(r'sample +│ wc +│ +1 │ +1,200 │', run.stdout)
  assert re.search(r'sample +│ se +│ +1 │ +400 │', run.stdout)
  shares = [float(s) for s in re.findall(r'sample .*?([\d.]+)%', run.stdout)]
  assert len(shares) == 2 and sum(shares) == pytest.approx(100)
  assert 'wc_low (3 a problem), se_low (1 a problem), gold' in ' '.join(run.stdout.split())
  assert list(tmp_path.iterdir()) == []


def test_sizes_without_weights_are_planned_for_a_mesh_that_is_elsewhere(command, tmp_path):
  flags = [f'--config.models.{m}=size:gemma2_{n}' for m, n in (('wc', '9b'), ('se', '27b'), ('student', '2b'))]
  run = command(tmp_path / 'workdir', '--dry_run', '--config.mesh.fsdp=64', *flags)
  assert run.returncode == 0, run.stderr
  assert 'se_high (10 a problem)' in ' '.join(run.stdout.split())
  assert not (tmp_path / 'workdir').exists()


def test_dry_run_of_a_paper_config_without_data_says_what_it_did_not_check(command, tmp_path):
  run = command(tmp_path / 'workdir', '--dry_run', config='configs/paper/math.py', small=False)
  assert run.returncode == 0, run.stderr
  assert 'share of budget' in run.stdout
  said = ' '.join(run.stdout.split())
  assert 'Not checked: problems, prompts and solutions: ' in said and 'config.data_dir' in said
  for model in ('wc', 'se', 'student'):
    assert f'Not checked: config.models.{model} is a shape without weights' in said
  assert list(tmp_path.iterdir()) == []


def test_invariant_5_no_text_is_evaluated_as_python():
  modules = sorted(PACKAGE.rglob('*.py'))
  assert len(modules) > 30
  for path in modules:
    if 'sandbox' in path.name:
      continue
    for node in ast.walk(ast.parse(path.read_text())):
      called = node.func if isinstance(node, ast.Call) else None
      name = getattr(called, 'id', getattr(called, 'attr', None))
      assert not (isinstance(called, ast.Name) and name in {'eval', 'exec', 'compile', '__import__'}), path
      assert name not in {'sympify', 'parse_expr', 'parse_latex', 'literal_eval'}, path
      imported = [a.name for a in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
      imported.append(getattr(node, 'module', None) or '')
      assert not {'pickle', 'cloudpickle', 'dill', 'marshal', 'shelve'} & {i.split('.')[0] for i in imported}, path


# Input that makes no sense --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--config.tpyo=1'], r'config\.tpyo: there is no such field; fields here are .*\bbudgets\b'),
    (['--config.train.bacth=1'], r'config\.train\.bacth: there is no such field; fields here are .*\bbatch\b'),
    (['--config.trian.batch=1'], r'trian'),
    (['--confg.seed=1'], r"Unknown command line flag 'confg\.seed'"),
    (['--config.seed=abc'], r'--config\.seed=abc'),
    (["--config.evaluate.maj_k=('two',)"], r"config\.evaluate\.maj_k=\(2, 'two'\): must be positive whole numbers"),
    (['--config.task.train=0'], r'config\.task\.train=0: must be positive'),
    (['--config.preset=huge'], r"config\.preset='huge'"),
    (['--config.task.name=chess'], r"config\.task\.name='chess' is not a task; tasks are arithmetic, "),
    (['--config.task.name=gsm8k'], r'point --config\.data_dir at the folder'),
    (['--config.data_dir=/nowhere'], r"config\.data_dir='/nowhere': there is no such folder; / holds the folders "),
    (['--config.data_dir=/dev/null', '--dry_run'], r"config\.data_dir='/dev/null': is a file; /dev holds "),
    (['--config.task.name=gsm8k', '--config.data_dir=/dev', '--dry_run'], r'/dev: there is no train\.jsonl'),
    (['--config.models.weak=embedded:wc', '--dry_run'], r"models\.weak=.*: nothing is named 'weak'; .* se, wc"),
    (['--config.train.steps.hgh=9', '--dry_run'], r"steps\.hgh=9: nothing is named 'hgh'; budgets are gold, high, low"),
    (['--config.models.wc=embedded:xl'], r"'embedded:xl': models that ship with the package are wc, se and student"),
    (['--config.models.student=size:gemma2_2b'], r"student='size:gemma2_2b' is .*--config\.models\.student=DIR"),
    (['--config.models.wc=/nowhere'], r"config\.models\.wc: '/nowhere': no such folder"),
    (['--config.budgets.low.se=0'], r"budget 'low': 0 samples"),
    (["--config.budgets={'low': {'me': 1}, 'high': {'se': 2}}"], r"'me' is not a generator; generators are"),
    (["--config.budgets.low={'wc': 2}"], r"budget 'low': 2 samples of 'wc' are too small for a single sample of 'se'"),
    (['--config.mesh.data=64'], r'config\.mesh asks for data=64 .* = 64 devices; there are 1'),
    (['--config.seed=7', '--config.task.train=41'], r'another config, .*\n  config\.seed: 0 there, 7 here \(problems/'),
    (['--from_workdir=/nowhere'], r'--from_workdir=/nowhere holds no config\.json: not a workdir'),
  ],
  ids=lambda value: value[0] if isinstance(value, list) else '',
)
def test_invariant_8_bad_input_is_refused_with_one_message_and_no_harm(command, workdir, listing, flags, message):
  before = listing(workdir)
  assert re.search(message, refused(command(workdir, *flags)))
  assert listing(workdir) == before


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--stages=sample,tarin'], r'--stages=tarin: stages are plan, sample, grade, train, evaluate, report'),
    (['config.seed=1'], r"unexpected arguments \['config\.seed=1'\]; flags are written --name=value"),
  ],
)
def test_a_misused_flag_shows_the_usage(command, workdir, listing, flags, message):
  before = listing(workdir)
  run = command(workdir, *flags)
  assert run.returncode == 1
  assert re.search(message, run.stdout + run.stderr)
  assert '--workdir' in run.stdout + run.stderr and 'Traceback' not in run.stderr
  assert listing(workdir) == before


def test_the_workdir_is_required(command):
  assert '--workdir' in refused(command(None))


def test_slots_must_divide_over_the_mesh(command, workdir, listing):
  before = listing(workdir)
  flags = ['--config.mesh.data=2', '--config.engine.slots=63']
  run = command(workdir, *flags, XLA_FLAGS='--xla_force_host_platform_device_count=2')
  assert 'config.engine.slots=63 does not divide over data x fsdp = 2 devices' in refused(run)
  assert listing(workdir) == before


@pytest.mark.parametrize(
  ('body', 'message'),
  [
    (None, r'config\.py'),
    ('c.trian.batch = 1', r'config\.py, line 4: .*trian'),
    ('c.tpyo = 1', r'config\.tpyo: there is no such field'),
    ("c.seed = 'one'", r'config\.py, line 4: .*seed'),
    ('c.seed = = 1', r'line 4'),
  ],
  ids=['no file', 'unknown section', 'unknown field', 'wrong type', 'no Python'],
)
def test_a_bad_config_file_is_named(command, tmp_path, body, message):
  file = tmp_path / 'config.py'
  if body is not None:
    file.write_text(f'from sweb_jax.config import default\ndef get_config():\n  c = default()\n  {body}\n  return c\n')
  run = command(tmp_path / 'workdir', config=str(file), small=False)
  assert re.search(message, refused(run))
  assert not (tmp_path / 'workdir').exists()


def test_a_folder_of_other_files_is_left_alone(command, tmp_path, listing):
  (tmp_path / 'thesis.tex').write_text('years of work')
  before = listing(tmp_path)
  assert f'--workdir={tmp_path} holds files but no config.json' in refused(command(tmp_path))
  assert listing(tmp_path) == before


def test_a_second_run_on_a_workdir_is_refused(command, workdir, listing):
  before = listing(workdir)
  with open(workdir / '.lock', 'a') as held:
    fcntl.flock(held, fcntl.LOCK_EX)
    assert f'--workdir={workdir}: another run is writing to it' in refused(command(workdir))
  assert listing(workdir) == before


def test_a_damaged_model_folder_is_named(command, workdir, listing, tmp_path):
  model = shutil.copytree(PACKAGE / 'models/embedded/wc', tmp_path / 'model')
  text = (model / 'config.json').read_text()
  (model / 'config.json').write_text(text[: len(text) // 2])
  before = listing(workdir)
  message = refused(command(workdir, f'--config.models.wc={model}'))
  assert f'{model}/config.json: not JSON that can be read' in message
  assert listing(workdir) == before


# Workdirs and studies that cannot go on -------------------------------------------------------------------------------


@pytest.fixture
def ungraded(finished, tmp_path):
  """A workdir whose samples are drawn but not graded."""
  folder = shutil.copytree(finished.workdir, tmp_path / 'workdir')
  shutil.rmtree(folder / 'verdicts')
  return folder


def test_a_damaged_chunk_is_named_with_its_line(command, ungraded, listing):
  chunk = ungraded / layout.samples(0, 'wc') / layout.numbered(layout.CHUNKS, 1)
  raw = chunk.read_bytes()
  chunk.write_bytes(raw[:-20])
  before = listing(ungraded / 'samples')
  message = refused(command(ungraded, '--stages=grade'))
  assert f'{chunk}, line {raw.count(10)}: not a Sample' in message
  assert listing(ungraded / 'samples') == before
  chunk.write_bytes(raw)
  assert command(ungraded, '--stages=grade').returncode == 0


def test_arms_that_kept_no_sample_are_named_and_all_else_is_done(command, tmp_path):
  flags = ['--config.sampling.max_new_tokens=6', '--config.task.train=6', '--config.task.test=6', '--config.gold=False']
  run = command(tmp_path / 'workdir', *flags)
  assert run.returncode == 0, run.stderr
  said = ' '.join(run.stdout.split())
  for arm in ('wc_high', 'se_high', 'wc_low', 'se_low'):
    kept = rf'{layout.examples(0, arm)}: no data: none of \d+ samples is kept \([^)]*\); [^(:]* \(2 steps depend on it'
    assert re.search(kept, said), said
  assert not list(tmp_path.rglob(layout.SELECTION))
  assert (tmp_path / 'workdir' / layout.INDEX).exists()


def test_a_study_runs_with_all_that_xla_optimises(command, tmp_path):
  """The other tests' programs are compiled in less time."""
  shipped = {'JAX_DISABLE_MOST_OPTIMIZATIONS': '0', 'XLA_FLAGS': ''}
  flags = ('--config.gold=False', '--config.task.train=24', '--config.task.test=12', '--config.evaluate.maj_k=()')
  run = command(tmp_path / 'workdir', *flags, imported=False, **shipped)
  assert run.returncode == 0, run.stderr
  assert list(tmp_path.rglob(layout.SELECTION)) and (tmp_path / 'workdir' / layout.INDEX).exists()


TOO_SHORT = ('--config.train.row_length=10', '--config.train.too_long=refuse')


def test_an_example_too_long_for_a_row_is_named(command, tmp_path):
  flags = [*TOO_SHORT, '--config.task.train=6', '--config.gold=False']
  message = refused(command(tmp_path / 'workdir', *flags))
  found = re.search(r'\((\S+/examples/\S+\.jsonl), counted from 0\): example (\d+) \((\S+)\) has (\d+) tokens', message)
  assert found and 'config.train.row_length=10 holds 11' in message
  examples = [json.loads(line) for line in Path(found[1]).read_text().splitlines()]
  longest = max(examples, key=lambda e: len((e['prompt'] + ' ' + e['solution']).split()))
  assert examples[int(found[2])] == longest
  assert found[3] == longest['problem_id']


def test_a_solution_by_people_too_long_for_a_row_is_named_before_anything_is_drawn(command, tmp_path):
  message = refused(command(tmp_path / 'workdir', *TOO_SHORT, '--config.task.train=6'))
  assert re.search(r"solution of problem '\S+' with its prompt has \d+ tokens for wc, config.train.row_len", message)
  assert not (tmp_path / 'workdir').exists()


def test_a_shape_without_weights_goes_through_the_plan_stage(command, tmp_path):
  flags = ["--config.learners=('student',)", '--config.models.student=size:gemma2_2b']
  run = command(tmp_path / 'workdir', '--stages=plan', *flags)
  assert run.returncode == 0, run.stderr
  assert (tmp_path / 'workdir' / layout.STUDY).exists()


def test_a_stage_without_its_inputs_says_which_to_add(command, tmp_path):
  workdir = tmp_path / 'workdir'
  model, examples = layout.model(0, 'wc', 'wc_high'), layout.examples(0, 'wc_high')
  message = refused(command(workdir, '--stages=train'))
  assert f"{model} needs {examples}, which is not done; add 'grade' to --stages" in message
  message = refused(command(workdir, '--stages=grade,train', '--config.gold=False'))
  assert "which is not done; add 'sample' to --stages" in message
  assert not (workdir / 'models').exists()


def test_what_waits_for_a_stage_that_was_not_asked_for_is_counted_and_the_rest_is_done(command, tmp_path):
  run = command(tmp_path / 'workdir', '--stages=plan,evaluate')
  assert run.returncode == 0, run.stderr
  model, scores = layout.model(0, 'wc', 'wc_high'), layout.scores(layout.TEST, 0, 'wc', 'wc_high')
  assert f'5 steps wait for others, as {scores} for {model}.' in run.stdout
  assert {p.parent.name for p in (tmp_path / 'workdir/scores').rglob(layout.MANIFEST)} == {layout.BASE}


# Workdirs that were made for another config ---------------------------------------------------------------------------


def test_redo_makes_again_what_a_changed_field_changes_and_keeps_what_was_there(command, finished, tmp_path, listing):
  workdir = shutil.copytree(finished.workdir, tmp_path / 'workdir')
  flags = ['--config.data.max_per_problem=1', '--stages=grade']
  before = listing(workdir)
  message = refused(command(workdir, *flags))
  assert 'config.data.max_per_problem: 4 there, 1 here (examples/set0/' in message and '--redo' in message
  assert listing(workdir) == before
  run = command(workdir, *flags, '--redo')
  assert run.returncode == 0, run.stderr
  arm = layout.examples(0, 'wc_high')
  (was,) = (workdir / layout.SUPERSEDED / arm).iterdir()
  assert (was / layout.EXAMPLES).read_bytes() == (finished.workdir / arm / layout.EXAMPLES).read_bytes()
  ids = [json.loads(line)['problem_id'] for line in (workdir / arm / layout.EXAMPLES).read_text().splitlines()]
  assert ids and len(ids) == len(set(ids))


def test_from_workdir_takes_over_what_fits(command, finished, tmp_path, report_tables):
  run = command(tmp_path / 'workdir', f'--from_workdir={finished.workdir}', '--stages=report')
  assert run.returncode == 0, run.stderr
  assert f'Took over 23 steps from {finished.workdir}, by ' in ' '.join(run.stdout.split())
  assert report_tables(tmp_path / 'workdir') == report_tables(finished.workdir)


# A full disk ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
  """A small file system; call it with a size to make it larger."""
  folder = tmp_path / 'disk'
  folder.mkdir()
  made = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=300k', 'tmpfs', str(folder)], capture_output=True)
  if os.geteuid() or made.returncode:
    pytest.skip('a small file system needs root and mount')

  def grow(size: str) -> None:
    subprocess.run(['mount', '-o', f'remount,size={size}', str(folder)], check=True)

  yield folder, grow
  subprocess.run(['umount', str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_space(command, finished, disk, report_tables):
  folder, grow = disk
  workdir = folder / 'workdir'
  again = 'free some and run the same command again: finished work is kept'
  message = refused(command(workdir))
  assert re.search(rf'no space left for {workdir}/samples/set0/\w+/(chunk|ledger)-\d+\.jsonl; {again}', message)
  kept = {p: p.read_bytes() for p in (workdir / 'samples').rglob(layout.CHUNKS)}
  grow('1100k')  # Room for samples and verdicts, not for a model.
  message = refused(command(workdir))
  assert re.search(rf'no space left for {workdir}/models/\S+; {again}', message)
  assert kept and all(p.read_bytes() == raw for p, raw in kept.items())
  grow('20m')
  run = command(workdir)
  assert run.returncode == 0, run.stderr
  assert report_tables(workdir) == report_tables(finished.workdir)
