"""Commands do not hold memory that they do not use."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMMAND = """
import ctypes, re, sys, threading
from sweb_jax.runtime import terminal

def main(_):
  libc, together = ctypes.CDLL(None), threading.Barrier(24)
  libc.malloc.restype, libc.fopen.restype = ctypes.c_void_p, ctypes.c_void_p

  def work():
    together.wait()
    libc.malloc(1000)
    together.wait()

  threads = [threading.Thread(target=work) for _ in range(24)]
  [t.start() for t in threads]
  [t.join() for t in threads]
  file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b'w'))
  assert libc.malloc_info(0, file) == 0
  libc.fclose(file)
  print(len(re.findall('<heap nr', open(sys.argv[1]).read())))

terminal.start(main)
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='of the C library of Linux')
@pytest.mark.parametrize(('said', 'arenas'), [({}, 4), ({'MALLOC_ARENA_MAX': '6'}, 6)])
def test_threads_of_a_command_share_a_few_arenas_unless_the_environment_says_how_many(tmp_path, said, arenas):
  found = subprocess.run(
    [sys.executable, '-c', COMMAND, str(tmp_path / 'malloc.xml')], capture_output=True, text=True, env=said
  )
  assert found.stdout == f'{arenas}\n', found.stderr
