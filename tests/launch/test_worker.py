"""The script on the machines, with a Python that plays along."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from launch import commands

ROOT = Path(__file__).parents[2]
LOCK = Path('/tmp/libtpu_lockfile')
# Makes environments whose programs are itself, notes installs and runs, and ends as the file `code` says.
PYTHON = """#!/bin/bash
case "$1 $2" in
  '-c import'*) echo py311 ;;
  '-m venv') mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; cp "$0" "$3/bin/pip" ;;
  '-m sweb_jax.main')
    printf '%s\\0' "$@" >> "$PLAY/runs"
    trap 'echo told to go; exit 75' TERM
    until [ -f "$PLAY/code" ]; do sleep 0.05; done
    exit "$(cat "$PLAY/code")" ;;
  'install '*)
    [ -f "$PLAY/no_network" ] && exit 1
    [ -f "$PLAY/slow_network" ] && sleep 1
    echo "$@" >> "$PLAY/installs" ;;
esac
"""


class Worker:
  """worker.sh of a clone of its own."""

  def __init__(self, folder: Path):
    self.folder = folder
    (folder / 'clone/launch').mkdir(parents=True)
    shutil.copy(ROOT / 'launch/worker.sh', folder / 'clone/launch')
    shutil.copytree(ROOT / 'constraints', folder / 'clone/constraints')
    shutil.copy(ROOT / 'pyproject.toml', folder / 'clone')
    (folder / 'bin').mkdir()
    for name in ('python3', 'python3.11', 'python3.12'):
      (folder / 'bin' / name).write_text(PYTHON)
      (folder / 'bin' / name).chmod(0o755)
    self.env = os.environ | {'PATH': f'{folder}/bin:{os.environ["PATH"]}', 'PLAY': str(folder)}

  def __call__(self, *args: str) -> subprocess.CompletedProcess:
    command = ['bash', str(self.folder / 'clone/launch/worker.sh'), *args]
    return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, check=False)

  def status(self, wished: str) -> str:
    """The status once it is as wished, or after 20 s."""
    for _ in range(200):
      if (found := self('status').stdout.split(maxsplit=2)[2].strip()) == wished:
        break
      time.sleep(0.1)
    return found

  def read(self, name: str) -> str:
    path = self.folder / name
    return path.read_text() if path.exists() else ''


@pytest.fixture
def worker(tmp_path):
  worker = Worker(tmp_path)
  yield worker
  (tmp_path / 'code').write_text('0')  # Whatever a test left running ends.
  while 'running' in worker('status').stdout:
    time.sleep(0.1)


def test_the_environment_is_made_once_and_again_after_an_install_that_was_cut_short(worker):
  (worker.folder / 'no_network').touch()
  assert worker('setup').returncode != 0
  (worker.folder / 'no_network').unlink()
  for _ in range(2):
    assert worker('setup').returncode == 0
  (install,) = worker.read('installs').splitlines()
  assert install.endswith('[gcs,tpu]')
  assert '/clone/constraints/py311.txt --editable' in install
  with (worker.folder / 'clone/constraints/py311.txt').open('a') as f:
    f.write('# Another set of versions.\n')
  assert worker('setup').returncode == 0
  assert len(worker.read('installs').splitlines()) == 2


def test_the_boot_script_and_a_login_do_not_make_the_environment_at_the_same_time(worker):
  (worker.folder / 'slow_network').touch()
  command = ['bash', str(worker.folder / 'clone/launch/worker.sh'), 'setup']
  both = [subprocess.Popen(command, env=worker.env) for _ in range(2)]
  assert [p.wait(60) for p in both] == [0, 0]
  assert len(worker.read('installs').splitlines()) == 1


def test_a_python_without_ensurepip_makes_no_environment(worker):
  for name in ('python3', 'python3.12'):
    program = worker.folder / 'bin' / name
    program.write_text(PYTHON.replace("'-c import'*)", "'-c import ensurepip'*) exit 1 ;; '-c import'*)"))
  worker('setup')
  made = (worker.folder / 'clone.home/venv/bin/python').read_text()
  assert 'ensurepip' not in made  # By python3.11.


def test_the_study_gets_its_flags_unharmed_and_its_exit_code_is_passed_on(worker):
  flags = ['--config=configs/quickstart.py', '--config.name=two words', "--a='$HOME'\n", '--b="; exit 9"']
  for code in ('0', '1', '75', '130'):
    (worker.folder / 'code').write_text(code)
    assert worker('main', *flags).returncode == int(code)
  run = ['-m', 'sweb_jax.main', '--distributed=auto', *flags]
  assert worker.read('runs').split('\0')[:-1] == run * 4


def test_a_started_study_is_reported_until_it_has_ended(worker):
  assert worker.status('none') == 'none'
  assert worker('start', '--config=x.py').returncode == 0
  assert worker.status('running') == 'running'
  again = worker('start', '--config=x.py')
  assert (again.returncode, 'already runs' in again.stderr) == (0, True)
  other = worker('start', '--config=y.py')
  assert other.returncode == 1
  assert 'another study runs' in other.stderr and '--config=x.py' in other.stderr
  (worker.folder / 'code').write_text('3')
  assert worker.status('exited 3') == 'exited 3'
  log = worker('log').stdout
  assert '--config=x.py' in log
  assert 'exit code 3' in log
  assert len(worker.read('runs').split('\0')) == 5  # One run of four words.


def test_stop_lets_the_study_save_and_reports_its_code(worker):
  worker('start', '--config=x.py')
  while not worker.read('runs'):
    time.sleep(0.05)
  time.sleep(0.2)  # The fake sets its trap after it has noted the run.
  assert worker('stop').stdout.split(maxsplit=2)[2] == 'exited 75\n'
  assert 'told to go' in worker('log').stdout


def test_stop_while_the_environment_is_made_is_no_error_of_the_study(worker):
  (worker.folder / 'slow_network').touch()
  worker('start', '--config=x.py')
  assert worker('stop').stdout.split(maxsplit=2)[2] == 'exited 75\n'
  assert not worker.read('runs')


def test_a_study_that_does_not_stop_is_killed(worker):
  script = worker.folder / 'clone/launch/worker.sh'
  script.write_text(script.read_text().replace('seq 600', 'seq 1'))
  python = worker.folder / 'bin/python3'
  python.write_text(PYTHON.replace("trap 'echo told to go; exit 75' TERM", "trap '' TERM"))
  worker('start', '--config=x.py')
  while not worker.read('runs'):
    time.sleep(0.05)
  time.sleep(0.2)
  stopped = worker('stop')
  assert (stopped.returncode, stopped.stdout.split(maxsplit=2)[2]) == (1, 'lost\n')
  assert 'is killed' in stopped.stderr


def test_a_study_that_was_killed_with_its_keeper_is_lost(worker):
  worker('start', '--config=x.py')
  assert worker.status('running') == 'running'
  pid = int(worker.read('clone.home/state/pid').split()[0])
  os.killpg(pid, signal.SIGKILL)
  assert worker.status('lost') == 'lost'
  (worker.folder / 'code').write_text('0')
  worker('start', '--config=x.py')
  assert worker.status('exited 0') == 'exited 0'


def test_a_process_number_from_before_a_reboot_is_not_the_study(worker):
  worker('start', '--config=x.py')
  assert worker.status('running') == 'running'
  pid = worker.folder / 'clone.home/state/pid'
  number = pid.read_text().split()[0]
  pid.write_text(f'{number} another-boot\n')
  assert worker.status('lost') == 'lost'
  pid.write_text(f'{number} {Path("/proc/sys/kernel/random/boot_id").read_text()}')


def test_a_machine_gets_the_code_when_it_starts_but_not_under_a_running_study(worker, load):
  home = worker.folder / 'machine'
  boot = commands.boot_script(load('v5e_64')).replace(commands.HOME, str(home))
  gcloud = worker.folder / 'bin/gcloud'  # Plays the bucket.
  gcloud.write_text('#!/bin/sh\n[ "$*" = "storage cat gs://my-bucket/source/sweb.tar.gz" ] && exec cat "$PLAY/tar"\n')
  gcloud.chmod(0o755)
  tar = ['tar', '-czf', str(worker.folder / 'tar'), '-C', str(worker.folder / 'clone'), '.']
  for _ in range(2):  # A restart, or --action=setup.
    subprocess.run(tar, check=True)
    subprocess.run(['bash', '-c', boot], env=worker.env, timeout=60, check=True)
  assert len(worker.read('installs').splitlines()) == 1
  script = str(home / 'source/launch/worker.sh')
  subprocess.run(['bash', script, 'start', '--config=x.py'], env=worker.env, timeout=60, check=True)
  again = ['bash', '-c', boot]
  refused = subprocess.run(again, env=worker.env, capture_output=True, text=True, timeout=60, check=False)
  (worker.folder / 'code').write_text('0')
  assert refused.returncode == 1
  assert '--action=stop' in refused.stderr


@pytest.mark.skipif(LOCK.exists(), reason=f'{LOCK} is there: a TPU may be in use')
def test_a_lock_that_a_killed_run_left_is_removed(worker):
  (worker.folder / 'code').write_text('0')
  LOCK.touch()
  try:
    worker('main')
    assert not LOCK.exists()
  finally:
    LOCK.unlink(missing_ok=True)


def test_a_python_that_was_not_tested_is_refused_with_what_was(worker):
  worker.env['PYTHON'] = 'python2'
  done = worker('setup')
  assert done.returncode == 1
  assert 'py311 py312' in done.stderr
