"""One command from problems to a verdict.

    python -m sweb_jax.main --config=configs/quickstart.py --workdir=DIR

Prints the plan, runs the study's steps, and ends with a table and DIR/report/index.html. Stop it at any time and start
it again with the same command: finished steps are skipped, a half-done one goes on. With another config, what fits is
reused, what is new is added, and what would have to be made again is named before anything is done.
"""

from __future__ import annotations

import gc
import os
import resource
import runpy
import sys
import time
import traceback

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from sweb_jax.runtime import stopping, terminal
from sweb_jax.study import STAGES

# A field that the file does not have is taken here and refused by `config.validate`, which can say what there is.
_CONFIG = config_flags.DEFINE_config_file(
  'config',
  None,
  'The experiment: a file with get_config(), see configs/.',
  lock_config=False,
  accept_new_attributes=True,
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder for everything the study writes; goes on where it was stopped.')
_STAGES = flags.DEFINE_list('stages', list(STAGES), f'Which stages to run, of {",".join(STAGES)}.')
_DISTRIBUTED = flags.DEFINE_enum(
  'distributed', 'auto', ('auto', 'on', 'off'), 'Is this one of several processes? auto: as the environment tells.'
)
_COORDINATOR = flags.DEFINE_string('coordinator', '', 'HOST:PORT of process 0, where the environment does not tell.')
_PROCESS_COUNT = flags.DEFINE_integer('process_count', 0, 'Number of processes, where the environment does not tell.')
_PROCESS_ID = flags.DEFINE_integer('process_id', -1, 'Which of them this is, from 0.')
_START_SECONDS = flags.DEFINE_float('start_seconds', 300.0, 'How long the other processes are waited for at the start.')
_PATIENCE = flags.DEFINE_float('patience', 1800.0, 'Seconds to wait for a process that gets nothing done.')
_SILENCE = flags.DEFINE_float('silence', 25.0, 'Seconds without a sign of life after which a process counts as dead.')
_GRACE = flags.DEFINE_float('grace', 45.0, 'Seconds from a SIGTERM until the process ends, saved or not.', 1.0)
_DRY_RUN = flags.DEFINE_bool('dry_run', False, 'Check the config, print the plan, and stop; needs no data or weights.')
_SLICE = flags.DEFINE_string(
  'slice',
  None,
  "With --dry_run: the plan for a TPU slice as 'v5e-64', or two as '2xv5e-16', by its compiler's times; needs the "
  'extra `tpu`.',
)
_REDO = flags.DEFINE_bool('redo', False, 'Make again what was made for another config; it is moved to superseded/.')
_FROM_WORKDIR = flags.DEFINE_string('from_workdir', None, 'Take over every finished step that fits from this workdir.')


def main(argv: list[str]) -> None:
  begun = time.monotonic()
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments {argv[1:]}; flags are written --name=value')
  if unknown := set(_STAGES.value) - set(STAGES):
    raise app.UsageError(f'--stages={",".join(sorted(unknown))}: stages are {", ".join(STAGES)}')
  if _SLICE.value and not _DRY_RUN.value:
    raise app.UsageError('--slice goes with --dry_run: a run takes the machine that it is on')
  if _SLICE.value:
    os.environ['JAX_PLATFORMS'] = 'cpu'  # Before JAX is imported: the slice is not at hand.
  from sweb_jax import config as config_lib
  from sweb_jax.runtime import devices, distributed, files, supervisor
  from sweb_jax.runtime.hosts import Hosts, Interrupted

  hosts = None
  console = terminal.console()
  terminal.quiet_libraries()
  try:
    overridden = config_flags.get_override_values(flags.FLAGS['config'])
    config = config_lib.resolve(_CONFIG.value, overridden)
    config_lib.validate(config)
    config_lib.check_named(config, overridden, _written())
    # XLA's loader of cached CPU programs calls its own scheduling hints missing machine features, at length.
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    devices.room_for_simulated_devices()
    hosts = Hosts() if _DRY_RUN.value else distributed.start(
      _DISTRIBUTED.value,
      _COORDINATOR.value,
      _PROCESS_COUNT.value,
      _PROCESS_ID.value,
      start_seconds=_START_SECONDS.value,
      patience=_PATIENCE.value,
      silence=_SILENCE.value,
      grace=_GRACE.value,
    )
    console.quiet = not hosts.leads
    # Imported late: JAX takes seconds, and neither --help nor a wrong field should wait for it.
    from sweb_jax.study import command, opened

    gc.freeze()  # What was imported is no garbage, and need not be looked through for some.
    gc.set_threshold(50_000, 20, 20)  # Tracing makes much that lives for long.
    stopping.handle_signals()  # A kill asks for the same clean stop as Ctrl-C.
    root = files.absolute(_WORKDIR.value)
    study = opened.open_study(config, without_data=_DRY_RUN.value)
    rates = None
    if _SLICE.value:
      from sweb_jax.lowering import on_slices
      from sweb_jax.study.fine_tuning import trainings

      rates = on_slices.rates(config, _SLICE.value, trainings(study.graph.steps), console)
    lengths = command.plan(study, root, console, rates, tell=_DRY_RUN.value)
    if _DRY_RUN.value:
      return
    how = dict(lengths=lengths, redo=_REDO.value, from_workdir=_FROM_WORKDIR.value)
    command.run(study, root, hosts, _STAGES.value, console, **how)
    hosts.finish()
  except (KeyboardInterrupt, Interrupted) as e:
    code = stopping.INTERRUPTED if type(e) is KeyboardInterrupt else supervisor.TRY_AGAIN
    console.print('Stopped. The same command goes on from here.')
    if hosts is not None:
      hosts.leave(code, 'it was asked to stop')
    sys.stdout.flush()
    os._exit(code)  # Device threads may still be busy; nothing of theirs is needed.
  except (ValueError, OSError, RuntimeError) as e:
    if logging.vlog_is_on(1):
      traceback.print_exc()
    if hosts is not None:
      hosts.settle(e)
    print(f'Error: {e}\n(--verbosity=1 shows where.)', file=sys.stderr)
    if hosts is not None:
      hosts.leave(1, f'Error: {e}')
    sys.exit(1)
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  console.print(f'Done in {time.monotonic() - begun:.0f} s, at most {peak:.1f} GB of memory.')


def _written() -> ConfigDict:
  """The config file without what the command line says."""
  path, _, argument = config_flags.get_config_filename(flags.FLAGS['config']).partition(':')
  return runpy.run_path(path)['get_config'](*([argument] if argument else []))


def _parse_flags(argv: list[str]) -> list[str]:
  """Parses the flags, which runs the config file; says what is wrong in one message, as `main` does."""
  try:
    return flags.FLAGS(argv)
  except Exception as e:
    message = str(e) if isinstance(e, flags.Error) else f'--config: {type(e).__name__}: {e}'
    error: BaseException | None = e
    while error is not None:  # An error in the config file comes wrapped in others.
      lines = [f for f in traceback.extract_tb(error.__traceback__) if any(f.filename in a for a in argv[1:])]
      if lines:
        message = f'{lines[-1].filename}, line {lines[-1].lineno}: {type(error).__name__}: {error}'
      error = error.__context__
    print(f'Error: {message}\n(--help shows the flags.)', file=sys.stderr)
    sys.exit(1)


if __name__ == '__main__':
  stopping.end_at_once()
  flags.mark_flags_as_required(['config', 'workdir'])
  terminal.start(main, flags_parser=_parse_flags)
