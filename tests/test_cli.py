"""`sweb`, `status`, and how commands are ended."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

from etils import epath
from rich.console import Console

from sweb_jax import cli, layout, status
from sweb_jax.runtime import files
from tests import forked

ROOT = Path(__file__).parents[1]
SWEB = ('-c', 'from sweb_jax import cli; cli.main()')


def sweb(*arguments: object) -> subprocess.CompletedProcess:
  return forked.run(*SWEB, *arguments)


def shown(root: Path) -> str:
  console = Console(width=140)
  with console.capture() as capture:
    status.show(epath.Path(root), console)
  return capture.get()


def test_every_command_of_sweb_runs_its_module():
  for name, (module, *_) in cli.COMMANDS.items():
    run = sweb(name, '--help')
    assert f'python -m {module}'.removesuffix('.__main__') in run.stdout, f'{name}: {run.stdout}{run.stderr}'


def test_sweb_lists_its_commands_and_refuses_others():
  listed = sweb()
  assert listed.returncode == 0 and all(f'sweb {name} ' in listed.stdout for name in cli.COMMANDS)
  refused = sweb('paln')
  assert refused.returncode == 1 and refused.stderr.startswith('Error: sweb paln: there is no such command; there are')


def test_a_reader_of_help_may_leave():
  with forked.Forked([*SWEB, 'run', '--help'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as run:
    run.stdout.readline()
    run.stdout.close()
    assert run.stderr.read() == b''


def test_ctrl_c_while_jax_is_imported_ends_without_a_trace(command, tmp_path):
  """Libraries abort the process where an exception is raised into their import."""
  with command.start(tmp_path / 'workdir', imported=False) as run:
    while 'jaxlib' not in Path(f'/proc/{run.pid}/maps').read_text():
      time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
  assert run.returncode == 130, out + err
  assert err.strip() == 'Stopped before anything was begun.' and not (tmp_path / 'workdir').exists()


def test_status_tells_what_is_done_and_what_was_drawn(finished):
  said = shown(finished.workdir)
  assert 'finished' in said and 'quickstart' in said
  rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.split()}
  for stage in ('plan', 'sample', 'grade', 'train', 'evaluate', 'report'):
    steps, done, nothing, begun, _ = rows[stage]
    assert steps == done and (nothing, begun) == ('0', '0')
  assert 'completion, tokens' in said and 'FLOPs' in said


def test_status_knows_a_run_that_goes_on_from_one_that_was_killed(finished, tmp_path):
  workdir = shutil.copytree(finished.workdir, tmp_path / 'workdir')
  path = workdir / layout.PROGRESS
  told = json.loads(path.read_text()) | {'state': 'running', 'line': 'train: 5 of 10 (50 %), 2 a second; 0:03 left'}
  files.write_json(path, told | {'time': time.time() - 5})
  assert 'running, train: 5 of 10 (50 %), 2 a second; 0:03 left' in shown(workdir)
  files.write_json(path, told | {'time': time.time() - 600})
  assert 'has not been heard of for 10:00; was it killed?' in shown(workdir)
  files.write_json(path, told | {'state': 'failed', 'why': 'no space left', 'time': time.time() - 90})
  assert 'failed 1:30 ago: no space left' in shown(workdir)


def test_status_counts_steps_that_are_begun(finished, tmp_path):
  workdir = shutil.copytree(finished.workdir, tmp_path / 'workdir')
  manifest = next((workdir / 'models').rglob(layout.MANIFEST))
  files.write_json(manifest, json.loads(manifest.read_text()) | {'done': False})
  row = next(line.split() for line in shown(workdir).splitlines() if line.split()[:1] == ['train'])
  assert int(row[2]) == int(row[1]) - 1 and row[4] == '1'


def test_status_of_no_workdir_is_one_message(tmp_path):
  run = sweb('status', tmp_path / 'none')
  assert run.returncode == 1 and run.stderr.startswith('Error: ') and 'Traceback' not in run.stderr


