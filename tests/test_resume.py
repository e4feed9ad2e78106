"""A run that is stopped, however it is stopped, goes on and ends as if it had not been."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from sweb_jax import layout
from sweb_jax.records import Example, Problem, Sample, Verdict, read

CHUNKS, STATES = f'samples/*/*/{layout.CHUNKS}', f'models/*/*/*/rate_*/{layout.STATE}/[0-9]*'
TRAINED, EVALUATED = f'models/*/*/*/{layout.SELECTION}', f'scores/*/*/*/*/*/{layout.GREEDY}/{layout.VERDICTS}'
COMPILING, REPORTING = f'samples/*/*/{layout.MANIFEST}', f'{layout.REPORT}/{layout.MANIFEST}'


def wait_for(process, workdir: Path, pattern: str, more: int) -> None:
  """Returns when there are `more` files of a pattern than at first."""
  goal = len(list(workdir.glob(pattern))) + more
  while len(list(workdir.glob(pattern))) < goal:
    assert process.poll() is None, f'ended before {more} more {pattern}: {process.communicate()}'
    time.sleep(0.01)


def done(workdir: Path) -> dict[Path, int]:
  """When each finished step's manifest was written, in ns."""
  manifests = workdir.rglob(layout.MANIFEST)
  return {p: p.stat().st_mtime_ns for p in manifests if json.loads(p.read_text())['done']}


def written(workdir: Path) -> dict[Path, int]:
  """When each file of a step, the report's too, was written, in ns."""
  return {p: p.stat().st_mtime_ns for p in workdir.rglob('*') if p.is_file() and p.parent != workdir}


def check_whole(workdir: Path) -> None:
  """Every file that has its name is whole."""
  for cls, pattern in {
    Problem: layout.PROBLEMS,
    Sample: layout.CHUNKS,
    Verdict: layout.VERDICTS,
    Example: layout.EXAMPLES,
  }.items():
    for path in workdir.rglob(pattern):
      assert path.read_bytes().endswith(b'\n') and list(read(cls, path))
  for path in workdir.rglob('*.json'):
    if layout.STATE not in path.parts and layout.BEST not in path.parts:
      json.loads(path.read_text())


@pytest.mark.slow
def test_invariant_2_a_run_killed_again_and_again_ends_as_an_undisturbed_one(
  command, finished, tmp_path, report_tables
):
  # What to wait for after each start, and for how long at most to go on then before the kill.
  moments = (
    (COMPILING, 1, 1.0), (CHUNKS, 2, 0.3), (STATES, 1, 0.5), (TRAINED, 1, 1.0), (TRAINED, 2, 0.5), (EVALUATED, 2, 0.3),
    (REPORTING, 1, 1.0),
  )  # fmt: skip
  rng, often = random.Random(1), '--config.train.save_seconds=0.001'
  workdir = tmp_path / 'workdir'
  before = {}
  for pattern, more, seconds in moments:
    with command.start(workdir, often) as process:
      wait_for(process, workdir, pattern, more)
      time.sleep(rng.uniform(0, seconds))
      process.kill()
      process.communicate()
    assert process.returncode == -signal.SIGKILL
    check_whole(workdir)
    now = done(workdir)
    assert before.items() <= now.items(), 'a finished step was run again'
    before = now
  run = command(workdir, often)
  assert run.returncode == 0, run.stderr
  assert before.items() <= done(workdir).items(), 'a finished step was run again'
  assert report_tables(workdir) == report_tables(finished.workdir)


def test_a_kill_while_saved_states_are_removed_is_no_loss(command, finished, tmp_path):
  """They go last: what is left of them is not taken up."""
  workdir = shutil.copytree(finished.workdir, tmp_path / 'workdir')
  step = next(workdir.glob(TRAINED)).parent
  torn = next(step.glob('rate_*')) / layout.STATE / '4/arrays'
  torn.mkdir(parents=True)
  manifest = step / layout.MANIFEST
  manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {'done': False}))
  chosen = (step / layout.SELECTION).read_bytes()
  run = command(workdir, '--stages=train')
  assert run.returncode == 0, run.stderr
  assert manifest in done(workdir)
  assert (step / layout.SELECTION).read_bytes() == chosen
  assert not torn.parents[1].exists()


def test_ctrl_c_and_a_polite_kill_say_how_to_go_on_and_keep_what_was_drawn(command, finished, tmp_path, rows):
  workdir = tmp_path / 'workdir'
  stages = '--stages=plan,sample'
  for asked, code in ((signal.SIGINT, 130), (signal.SIGTERM, 75)):
    # Few slots: slow enough that the run does not end before the signal comes.
    with command.start(workdir, stages, '--config.engine.slots=16') as process:
      wait_for(process, workdir, CHUNKS, 1)
      process.send_signal(asked)
      out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert 'Stopped. The same command goes on from here.' in out
    assert 'Traceback' not in err
    check_whole(workdir)
  assert command(workdir, stages).returncode == 0

  def drawn(folder):
    return sorted((s['problem_id'], s['index'], s['tokens']) for s in rows(folder, CHUNKS))

  assert drawn(workdir) == drawn(finished.workdir)  # Each sample once, and the same.


def test_a_finished_study_does_nothing_and_prints_the_same_table(command, finished, listing, tmp_path):
  workdir = shutil.copytree(finished.workdir, tmp_path / 'workdir')
  before, times = listing(workdir), written(workdir)
  run = command(workdir)
  assert run.returncode == 0, run.stderr
  assert listing(workdir) == before and written(workdir) == times

  def table(output):
    return output[output.index('Which data trains better') : output.index('Done in')]

  assert table(run.stdout.replace(str(workdir), str(finished.workdir))) == table(finished.output)
