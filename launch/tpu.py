"""Launches a study on a Cloud TPU pod.

    python -m launch.tpu --config=launch/configs/v5e_64.py --config.project=ID --action=create [--dry_run]

Actions: create asks for the pod, setup prepares its machines, run starts the study, watch follows it and brings it
back after a preemption, logs, stop, delete; cost says what it will cost; jobset and xpk print the study for GKE.
--dry_run prints the commands and the cost, and does nothing. See docs/pods.md.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import yaml
from absl import app, flags
from ml_collections import config_flags

from launch import chips, commands, pod, process, watch
from launch.chips import LaunchError
from launch.gke import jobset

_ACTIONS = ('create', 'setup', 'run', 'watch', 'logs', 'stop', 'delete', 'cost', 'jobset', 'xpk')

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'The pod: a file of launch/configs.', lock_config=False, accept_new_attributes=True
)
_ACTION = flags.DEFINE_enum('action', None, _ACTIONS, 'What to do.')
_DRY_RUN = flags.DEFINE_bool('dry_run', False, 'Print the commands and the cost, and do nothing.')
_HOURS = flags.DEFINE_float('hours', None, "How long the study runs; not given: its own plan's estimate.", 0.0)


def planned_hours(study: Sequence[str], slice_name: str) -> float:
  """Hours that a study's plan expects.

  Args:
    study: flags of its command.
    slice_name: whose compiled steps give the times; '': the machine that its config.estimate describes does.

  Raises LaunchError.
  """
  with tempfile.TemporaryDirectory() as folder:
    here = [a for a in study if not a.startswith('--workdir=')]
    # The data are where the machines find them, and hours do not depend on them.
    argv = [sys.executable, '-m', 'sweb_jax.main', *here, f'--workdir={folder}', '--dry_run', '--config.data_dir=']
    argv += [f'--slice={slice_name}'] if slice_name else []
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
  total = re.search(r'^\W*all\W.*?([\d,]+\.\d)\W*$', done.stdout, re.MULTILINE)
  if done.returncode or not total:
    words = '\n'.join(done.stderr.strip().splitlines()[-3:])
    raise LaunchError(f'the plan of the study is not known; give --hours=H. `{shlex.join(argv)}`:\n{words}')
  return float(total[1].replace(',', '')) / 60


def main(argv: list[str]) -> int:
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments {argv[1:]}; flags are written --name=value')
  try:
    return _act(pod.parse(_CONFIG.value))
  except LaunchError as e:
    print(f'Error: {e}', file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    print(
      '\nNo longer watching; the pod and the study go on. The same command watches again.'
      if _ACTION.value == 'watch'
      else '\nStopped; what Google or the machines were asked for may go on.',
      file=sys.stderr,
    )
    return watch.STOPPED


def _act(p: pod.Pod) -> int:
  action = _ACTION.value
  if action == 'jobset':
    print(yaml.safe_dump(jobset.jobset(p), sort_keys=False, width=1000), end='')
    return 0
  if action == 'xpk':
    print(shlex.join(jobset.xpk(p)))
    return 0
  if _DRY_RUN.value or action == 'cost':
    hours, unknown = _HOURS.value, None
    if hours is None:
      try:
        hours = planned_hours(p.study, _compiled_for(p) if action == 'cost' else '')
      except LaunchError as e:
        unknown = e
    print(commands.printed(p, action, hours))
    if action == 'cost':
      chips.dollars_an_hour(p.slice, p.slices, p.zone, p.spot)  # Raises where the answer could not be given.
      if unknown:
        raise unknown
    elif unknown:
      print(unknown)
    return 0
  settings = _CONFIG.value.watch
  if action == 'watch':
    code = watch.watch(
      p,
      watch.Patience(
        poll=settings.poll_seconds,
        command=settings.gcloud_seconds,
        attempts=settings.attempts,
        healthy=settings.healthy_seconds,
        backoff=settings.backoff_seconds,
      ),
      sleep=time.sleep,
      report=lambda text: print(f'{time.strftime("%F %T")} {text}', flush=True),
    )
    print(f'The study ended with exit code {code}. The pod is still paid for: --action=delete ends that.')
    return code
  for command in commands.actions(p)[action]:
    if command[:2] == ['git', 'archive']:
      _tell_what_stays()
    print(f'> {process.short(command)}', flush=True)
    # gcloud waits until a pod is made or deleted, and the machines until the study has saved.
    done = process.call(command, settings.gcloud_seconds * (1 if action in ('run', 'logs') else 6))
    print(done.stdout, end='', flush=True)
    if done.returncode:
      raise process.error(done, p)
  return 0


def _compiled_for(p: pod.Pod) -> str:
  """The slices that the plan's steps are compiled for; '' where they cannot be, which is said."""
  if importlib.util.find_spec('libtpu'):
    return p.slice.name if p.slices == 1 else f'{p.slices}x{p.slice.name}'
  why = "without the TPU's compiler (the extra `tpu`)"
  print(f"Hours are by the study's config.estimate: {why} its steps are not compiled.")
  return ''


def _tell_what_stays() -> None:
  """Names files that were changed and not committed."""
  done = process.call(['git', 'diff', '--name-only', 'HEAD'], 60.0)
  if names := done.stdout.split():
    print(f'Not committed, so the machines get the last version without: {", ".join(names)}', flush=True)


def _parse_flags(argv: list[str]) -> list[str]:
  """Parses the flags, which runs the config file; says what is wrong in one message, as `main` does."""
  try:
    return flags.FLAGS(argv)
  except Exception as e:
    message = str(e) if isinstance(e, flags.Error) else f'--config: {type(e).__name__}: {e}'
    print(f'Error: {message}\n(--help shows the flags.)', file=sys.stderr)
    sys.exit(1)


if __name__ == '__main__':
  signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # What is printed may be cut short by `head`.
  flags.mark_flags_as_required(['config', 'action'])
  app.run(main, flags_parser=_parse_flags)
