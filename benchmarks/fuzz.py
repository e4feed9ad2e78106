"""Coverage-guided fuzzing of every reader of files: each takes what is in a file, or refuses it in a sentence.

    pip install -e '.[fuzz]'
    python benchmarks/fuzz.py --out=DIR [--readers=ledger,gguf] [--seconds=60] [--seed=0]

The readers are those of `benchmarks/readers.py`. A sound file is damaged, as the tests do it, or byte by byte, as
libFuzzer does it by atheris; what leads to code that no file led to before is kept, and damaged further. A fault is any
exception but the reader's own, an assertion on what was taken in, more than 20 s, or more memory than `--megabytes`.
Prints a line a reader: files read, how many a second, places in the code that they led to, files that are kept in
DIR/READER/corpus (a later call goes on from them), and the fault. The file at fault is in DIR/READER; the exit code is
1 where there is one. To see a fault again:

    python benchmarks/fuzz.py --readers=ledger --again=DIR/ledger/crash-...
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags

READERS = flags.DEFINE_list('readers', [], 'Names in benchmarks/readers.py; none: all.')
OUT = flags.DEFINE_string('out', None, 'Folder for the files that were kept, and those at fault.')
SECONDS = flags.DEFINE_integer('seconds', 60, 'For each reader.', lower_bound=1)
SEED = flags.DEFINE_integer('seed', 0, 'Of the changes.')
MEGABYTES = flags.DEFINE_integer('megabytes', 2048, 'Memory of the process, some 500 of which are its libraries.')
AGAIN = flags.DEFINE_string('again', None, 'A file that the readers read once, without any change.')

ROOT = Path(__file__).parents[1]
SLOW = 20
"""Seconds for a file; what grows without bound takes more."""


def main(_) -> None:
  from benchmarks import readers  # By the interpreter's path, which `__main__` sets.

  names = READERS.value or list(readers.READERS)
  if unknown := set(names) - set(readers.READERS):
    raise app.UsageError(f'--readers={",".join(sorted(unknown))}: readers are {", ".join(readers.READERS)}')
  if AGAIN.value:
    for name in names:
      with tempfile.TemporaryDirectory() as folder:
        readers.READERS[name](Path(folder), Path(AGAIN.value).read_bytes())
      print(f'{name}: no fault')
    return
  if not OUT.value:
    raise app.UsageError('--out=DIR is needed')
  if importlib.util.find_spec('atheris') is None:
    raise app.UsageError("atheris is not installed: pip install -e '.[fuzz]'")
  found = [fuzz(name, readers.READERS[name].good()) for name in names]
  sys.exit(any(found))


def fuzz(name: str, good: bytes) -> bool:
  """Fuzzes a reader in a process of its own; prints what came of it, and says whether there was a fault."""
  folder = Path(OUT.value) / name
  corpus = folder / 'corpus'
  corpus.mkdir(parents=True, exist_ok=True)
  (corpus / 'sound').write_bytes(good)
  words = re.findall(rb'"[A-Za-z_.]+"', good)
  quoted = [''.join(rf'\x{byte:02x}' for byte in word) for word in dict.fromkeys(words)]
  (folder / 'words').write_text(''.join(f'"{word}"\n' for word in [*quoted, '{}']))
  begun = time.monotonic()
  process = subprocess.run(
    [sys.executable, __file__, 'child', name, str(corpus), f'-artifact_prefix={folder}/', f'-dict={folder}/words',
     f'-max_total_time={SECONDS.value}', f'-timeout={SLOW}', f'-rss_limit_mb={MEGABYTES.value}', f'-seed={SEED.value}',
     '-max_len=65536', '-keep_seed=1', '-reduce_inputs=0', '-mutate_depth=2', '-print_final_stats=1'],
    cwd=ROOT, capture_output=True, text=True, errors='replace', check=False,
    env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)},
  )  # fmt: skip
  log = process.stderr + process.stdout
  (folder / 'log').write_text(log)
  runs = int((re.findall(r'number_of_executed_units: (\d+)', log) or ['0'])[-1])
  covered = (re.findall(r'cov: (\d+)', log) or ['?'])[-1]
  kept = len(list(corpus.iterdir()))
  at_fault = re.findall(r'Test unit written to (\S+)', log)
  said = re.findall(r'^(?:\w+\.)*(\w*(?:Error|Exception|Interrupt)\b.*)', log, re.MULTILINE)
  fault = f'{said[0][:200] if said else "a fault"}; {at_fault[0]}' if at_fault else ''
  if process.returncode and not at_fault:
    fault = f'ended with status {process.returncode}; {folder / "log"}'
  speed = runs / (time.monotonic() - begun)
  print(f'{name}: {runs:,} files, {speed:,.0f} a second, {covered} places, {kept} kept', end='; ')
  print(fault or 'no fault', flush=True)
  return bool(fault)


def child(name: str, arguments: list[str]) -> None:
  """What runs in the process of a reader: never comes back."""
  import atheris

  with atheris.instrument_imports(include=['sweb_jax', 'benchmarks']):
    readers = importlib.import_module('benchmarks.readers')
  reader = readers.READERS[name]
  logging = importlib.import_module('absl.logging')
  logging.set_verbosity(logging.FATAL)
  memory = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
  with contextlib.ExitStack() as stack:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory)))

    def change(data: bytes, most: int, seed: int) -> bytes:
      rng = random.Random(seed)
      changed = readers.damage(rng, data) if rng.random() < 0.5 else atheris.Mutate(data, most)
      return bytes(changed[:most])

    atheris.Setup([sys.argv[0], *arguments], lambda data: reader(folder, data), custom_mutator=change)
    atheris.Fuzz()


if __name__ == '__main__':
  sys.path.insert(0, str(ROOT))
  if sys.argv[1:2] == ['child']:
    child(sys.argv[2], sys.argv[3:])
  else:
    app.run(main)
