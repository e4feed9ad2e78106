"""What a person sees of a command: its width, whose messages, and nothing of how it is ended."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

from absl import app
from absl import logging as absl_logging
from rich.console import Console

from sweb_jax.runtime import memory
from sweb_jax.runtime.stopping import INTERRUPTED

_BACKENDS = 'jax._src.xla_bridge'
"""JAX's logger that names the backends which are not there. A level for all of JAX would be XLA's too, which then tells
of each compiled program that it loads."""


def console() -> Console:
  """Where a command prints. A file or a pipe has no width, and 80 columns would cut the tables."""
  found = Console()
  if not found.is_terminal:
    found.width = 140
  return found


def start(main: Callable[[list[str]], Any], **options: Any) -> None:
  """absl's `app.run` for people: `--help | head` and Ctrl-C end without a traceback, and memory is not held idle."""
  memory.few_arenas()
  if any(argument.lstrip('-').startswith('help') for argument in sys.argv[1:]):
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
  try:
    app.run(main, **options)
  except KeyboardInterrupt:
    sys.exit(INTERRUPTED)


def clock(seconds: float) -> str:
  """'0:12', '1:02:03'."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02d}:{seconds:02d}' if hours else f'{minutes}:{seconds:02d}'


def quiet_libraries() -> None:
  """Leaves the warnings and errors of libraries, and none of their notes, unless --verbosity asks for them."""
  if absl_logging.vlog_is_on(1):
    return
  logging.getLogger(_BACKENDS).setLevel(logging.WARNING)
  absl_logging.get_absl_logger().addFilter(_not_of_orbax)  # Orbax logs by absl's logger, as this project does.


def _not_of_orbax(record: logging.LogRecord) -> bool:
  return record.levelno >= logging.WARNING or '/orbax/' not in record.pathname
