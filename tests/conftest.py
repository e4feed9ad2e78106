"""What the tests of the command share: how it is run, a small study, and one undisturbed run of that study."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import gc
import hashlib
import importlib
import importlib.metadata
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from absl import logging

from tests.forked import Forked, ended

ROOT = Path(__file__).parents[1]

# Compiling would be most of the tests' time. So: few optimisations, and one cache of compiled programs. The first of
# pytest's processes says so before JAX is imported; its workers, and whatever a test starts, inherit it.
if 'PYTEST_XDIST_WORKER' not in os.environ:
  SESSION = tempfile.TemporaryDirectory(prefix='sweb_jax_tests_', ignore_cleanup_errors=True)
  os.environ |= {
    'SWEB_TEST_SESSION': SESSION.name,
    'JAX_COMPILATION_CACHE_DIR': f'{SESSION.name}/compiled',
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
    'TF_CPP_MIN_LOG_LEVEL': '3',  # A kilobyte for each program out of the cache.
  }
  # Later ones, as for Python 3.12, do not know the first of the flags, and end the process.
  if importlib.metadata.version('jaxlib').startswith('0.9.'):
    # Half of the compiler's time.
    os.environ['XLA_FLAGS'] = '--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1'

gc.set_threshold(50_000, 20, 20)  # Tracing makes much that lives for long.

# A shell's background job ignores Ctrl-C, and so would the commands that the tests start and stop.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
  """What a file's tests leave behind, most of it programs in JAX's caches, is not looked through again and again.

  Late in a process one collection of garbage took two seconds.
  """
  if nextitem is None or nextitem.path != item.path:
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def verbosity():
  """Every test begins with absl's own verbosity: another may have run a command that says less."""
  logging.set_verbosity(logging.WARNING)


@pytest.fixture
def within():
  """A context that fails where the work in it takes this thread longer than so many seconds. It measures nothing: the
  bound is far above what the work takes, and far below what it would take if it grew faster than its input."""

  @contextlib.contextmanager
  def bounded(seconds: float):
    gc.disable()  # Other tests' garbage.
    begun = time.thread_time()
    try:
      yield
    finally:
      took = time.thread_time() - begun
      gc.enable()
    assert took < seconds

  return bounded


SMALL = (
  '--config.seed=0',
  '--config.question_sets=1',
  '--config.task.train=40',
  '--config.task.validation=24',
  '--config.task.test=40',
  '--config.train.steps.low=4',
  '--config.train.steps.high=4',
  '--config.train.steps.gold=4',
  '--config.train.checkpoints=2',
  '--config.train.batch=8',
  '--config.train.learning_rates=(0.0025,)',
  '--config.data.max_per_problem=4',
  "--config.learners=('wc',)",
  '--config.number_matched=False',
  '--config.evaluate.maj_k=(2,)',
  '--config.engine.slots=64',
)
# Runs the command and leaves the names of what it imported behind.
NOTE_MODULES = """
import atexit, pathlib, runpy, sys
where, *sys.argv[1:] = sys.argv[1:]
atexit.register(lambda: pathlib.Path(where).write_text('\\n'.join(sys.modules)))
runpy.run_module('sweb_jax.main', run_name='__main__', alter_sys=True)
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
  """Skips what the installed library has not. Files with slow tests first, so that no process is left with one when the
  others have nothing more to do."""
  if int(importlib.metadata.version('gemma').split('.')[0]) < 4:
    skip = pytest.mark.skip(reason='needs the gemma library 4, and so Python 3.12: docs/models.md')
    for item in items:
      if item.get_closest_marker('gemma4'):
        item.add_marker(skip)
  elif any(item.get_closest_marker('gemma4') for item in items):
    # PyTorch brings it along and imports it late. After TensorFlow, which the gemma library imports, it crashes there.
    with contextlib.suppress(ImportError):
      importlib.import_module('triton')
  slow = {item.path for item in items if item.get_closest_marker('slow')}
  items.sort(key=lambda item: item.path not in slow)


@dataclasses.dataclass(frozen=True)
class Command:
  """`python -m sweb_jax.main` with the small study."""

  def start(
    self,
    workdir: Path | None,
    *flags: str,
    config: str = 'configs/quickstart.py',
    small: bool = True,
    imported: bool = True,
    modules: Path | None = None,
    **environment: str,
  ) -> subprocess.Popen:
    """Starts it, with its imports made already unless `imported` is false. `modules`: a file for their names."""
    start, python = Forked, ['-m', 'sweb_jax.main']
    if modules is not None:
      python, imported = ['-c', NOTE_MODULES, str(modules)], False
    if not imported:
      start, python = subprocess.Popen, [sys.executable, *python]
    where = [] if workdir is None else [f'--workdir={workdir}']
    env = {'JAX_PLATFORMS': 'cpu', **os.environ, **environment}
    return start(
      [*python, f'--config={config}', *where, *(SMALL if small else ()), *flags],
      cwd=ROOT,
      env=env,
      text=True,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
    )

  def __call__(
    self, workdir: Path | None, *flags: str, seconds: float = 300, **kwargs
  ) -> subprocess.CompletedProcess:
    return ended(self.start(workdir, *flags, **kwargs), seconds)


@dataclasses.dataclass(frozen=True)
class Finished:
  """The undisturbed run; its workdir is to be read or copied, never written to."""

  workdir: Path
  output: str
  modules: frozenset[str]


@pytest.fixture(scope='session')
def begun():
  """A context: `python SCRIPT FOLDER`, once it has printed a line; left when it has ended, well or by a kill."""

  @contextlib.contextmanager
  def running(script: Path, folder: Path):
    with Forked([script, folder], text=True, stdout=subprocess.PIPE) as process:
      assert process.stdout.readline()
      yield process
      process.communicate()
    assert process.returncode in (0, -signal.SIGKILL)

  return running


@pytest.fixture(scope='session')
def command() -> Command:
  return Command()


def made_once(name: str, make: Callable[[Path], None]) -> Path:
  """A folder that is filled by the first of pytest's processes that asks for it; the others wait, and read it."""
  folder = Path(os.environ['SWEB_TEST_SESSION']) / name
  with open(f'{folder}.lock', 'w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not (folder / 'made').exists():
      shutil.rmtree(folder, ignore_errors=True)
      folder.mkdir()
      make(folder)
      (folder / 'made').touch()
  return folder


@pytest.fixture(scope='session')
def finished(command) -> Finished:
  def make(folder: Path) -> None:
    run = command(folder / 'workdir', modules=folder / 'modules')
    assert run.returncode == 0, run.stderr
    (folder / 'output').write_text(run.stdout)

  folder = made_once('finished', make)
  modules = frozenset((folder / 'modules').read_text().split())
  return Finished(folder / 'workdir', (folder / 'output').read_text(), modules)


@pytest.fixture(scope='session')
def listing():
  """A function: every path under a folder with the hash of its bytes."""

  def listed(folder: Path) -> dict[str, str]:
    files = sorted(folder.rglob('*'))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.is_file()} | {
      str(p.relative_to(folder)): 'folder' for p in files if p.is_dir()
    }

  return listed


@pytest.fixture(scope='session')
def report_tables():
  """A function: the bytes of every table of a workdir's report."""

  def tables(workdir: Path) -> dict[str, bytes]:
    found = {p.name: p.read_bytes() for p in (workdir / 'report/tables').iterdir()}
    assert {Path(name).suffix for name in found} == {'.csv', '.json'}
    return found

  return tables


@pytest.fixture(scope='session')
def rows():
  """A function: the objects of all JSON-lines files of a workdir that match a pattern."""

  def read(workdir: Path, pattern: str) -> list[dict]:
    found = sorted(workdir.glob(pattern))
    assert found, f'{workdir} has no {pattern}'
    return [json.loads(line) for p in found for line in p.read_bytes().splitlines()]

  return read


@pytest.fixture(scope='session')
def runs():
  """Runs the study of tiny_study.py in this process, and looks at what it leaves: see `Runs` there."""
  return runpy.run_path(str(ROOT / 'tests/tiny_study.py'))['Runs']()


@pytest.fixture(scope='session')
def done(runs) -> Path:
  """A finished workdir of that study: to be read or copied, never written to."""
  return made_once('tiny', lambda folder: runs(folder / 'workdir', runs.tiny())) / 'workdir'


@pytest.fixture
def copy(done, tmp_path) -> Path:
  """A copy of it."""
  return Path(shutil.copytree(done, tmp_path / 'copy'))
