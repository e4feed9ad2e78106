"""Runs the `main` of a script in a fork of this process for every folder named on standard input.

What the script imports is imported once, and not at each of its many starts. A fork prints its process id, then what
`main` prints, and this process then prints 'ended' with the exit code, or minus the signal. Run by a test.
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback

from etils import epath

main = runpy.run_path(sys.argv[1])['main']
for line in sys.stdin:
  pid = os.fork()
  if not pid:
    code = 1
    try:
      print(os.getpid(), flush=True)
      main(epath.Path(line.rstrip('\n')))
      code = 0
    except Exception:
      traceback.print_exc()
    finally:
      sys.stdout.flush()
      os._exit(code)
  print('ended', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
