"""What a process holds of its memory."""

from __future__ import annotations

import ctypes
import os

_ARENAS = 4
_M_ARENA_MAX = -8


def few_arenas() -> None:
  """Has the C library keep freed memory in a few places, not in eight for each core.

  Each thread takes its memory from one of these arenas, and what it frees stays there: files read by threads side by
  side, line by line, left a quarter of the memory of grading unused and held. `MALLOC_ARENA_MAX` in the environment
  still says how many. Other C libraries than glibc have none.
  """
  if 'MALLOC_ARENA_MAX' not in os.environ and hasattr(libc := ctypes.CDLL(None), 'mallopt'):
    libc.mallopt(_M_ARENA_MAX, _ARENAS)
