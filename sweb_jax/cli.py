"""`sweb COMMAND ...`: every command of the package under one name, as `python -m` has them.

    sweb run --config=FILE --workdir=DIR     a study from problems to the report
    sweb plan --config=FILE --workdir=DIR    what it would take; needs no data or weights
    sweb status WORKDIR                      how far it is
    sweb report WORKDIR                      its report, made again
    sweb check WORKDIR                       whether its files are whole
    sweb spent WORKDIR                       the tokens that were charged
    sweb simulate WORKDIR...                 other budgets and policies over recorded samples
    sweb answers --task=TASK                 grades answers from standard input
    sweb export WORKDIR --arm=ARM ...        an arm's data for another trainer
    sweb models inspect SOURCE               what a model is; convert, compare
    sweb lower --config=FILE ...             its steps compiled for a machine that is not at hand

`sweb COMMAND --help` shows a command's flags.
"""

from __future__ import annotations

import runpy
import signal
import sys

COMMANDS = {
  'run': ('sweb_jax.main',),
  'plan': ('sweb_jax.main', '--dry_run'),
  'status': ('sweb_jax.status',),
  'report': ('sweb_jax.analysis', 'report'),
  'check': ('sweb_jax.study', 'check'),
  'spent': ('sweb_jax.budget', 'spent'),
  'simulate': ('sweb_jax.budget', 'simulate'),
  'answers': ('sweb_jax.answers',),
  'export': ('sweb_jax.export',),
  'models': ('sweb_jax.models',),
  'lower': ('sweb_jax.lowering',),
}
"""Name -> the module that is run, and the arguments before those that are given."""


def main() -> None:
  """The entry point of `sweb`."""
  if len(sys.argv) < 2 or sys.argv[1] in ('-h', '--help', 'help'):
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `sweb | head` ends quietly.
    print(__doc__)
    return
  name = sys.argv[1]
  if name not in COMMANDS:
    sys.exit(f'Error: sweb {name}: there is no such command; there are {", ".join(COMMANDS)}')
  module, *arguments = COMMANDS[name]
  sys.argv[1:2] = arguments
  runpy.run_module(module, run_name='__main__', alter_sys=True)
