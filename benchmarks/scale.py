"""Host work of a study of the paper's size: CPU seconds and peak memory of each stage, and how they grow.

    python benchmarks/scale.py --data_dir=MATH_DIR --tokenizer=TOKENIZER.model --out=DIR [--sizes=0.0625,0.25,1] \
      [--rows=grade,report]

The study is `configs/paper/math.py` with models of a few thousand weights and a real vocabulary. Size 1 has its 6,994
problems and 40 samples of each, WC 30 and SE 10, of 357 tokens on average; below 1 there are fewer problems, above it
more samples of each. Samples are made from the sentences of the data set's own solutions: about half are right, one in
fifty is cut. What no device computes here (fine-tuned models, scores) is marked as without a result.

Every row is the real command in a process of its own, so its seconds hold the start of Python and the imports. Where a
device would begin to work, the process ends: `fresh`, `resumed`, `train_first` and `train` are what happens before.
Prints a line a row and size, then tables in Markdown with the exponents of growth between neighbouring sizes; all rows
are also in DIR/scale.json, to which a later call adds.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import itertools
import json
import math
import multiprocessing
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import app, flags

DATA_DIR = flags.DEFINE_string('data_dir', None, 'Folder of MATH, as config.data_dir.')
TOKENIZER = flags.DEFINE_string('tokenizer', None, 'A tokenizer.model, plain or gzipped.')
OUT = flags.DEFINE_string('out', None, 'Folder for models, workdirs and scale.json.')
SIZES = flags.DEFINE_list('sizes', ['0.0625', '0.25', '1'], 'Of the paper.')
ROWS = flags.DEFINE_list('rows', [], 'Which rows; none: all, in the order of a study.')

ROOT = Path(__file__).parents[1]
CONFIG = 'configs/paper/math.py'
PROBLEMS, TOKENS, RIGHT, CUT = 6994, 357, 0.5, 0.02
CHARACTERS = 2.9
"""Of a token, in the data set's solutions."""

BEGINS = """
import os, sys
def end(*_, **__): sys.stdout.flush(); os._exit(0)
def main():
  import runpy
  if os.environ['UNTIL'] == 'device':
    from sweb_jax.sampling import engine
    engine.SharedCache = end
  else:
    from sweb_jax.study import fine_tuning
    fine_tuning.fit = lambda params, config, runs, **_: (runs[0].packer.batch(0), end())
  sys.argv[0] = 'sweb_jax.main'
  runpy.run_module('sweb_jax.main', run_name='__main__', alter_sys=True)
main()
"""
"""Runs the command up to the first device work of an engine, or up to the first step of a training."""


@dataclasses.dataclass(frozen=True)
class Size:
  """One study."""

  size: float

  @property
  def folder(self) -> Path:
    return Path(OUT.value) / f'{self.size:g}'

  @property
  def problems(self) -> int:
    return round(PROBLEMS * min(1, self.size))

  @property
  def fields(self) -> dict[str, object]:
    """Of the config, that differ from the file."""
    deep = round(max(1, self.size))
    budgets = {'low': {'se': deep}, 'high': {'se': 10 * deep}}
    return {f'models.{name}': str(Path(OUT.value) / name) for name in ('wc', 'se', 'student')} | {
      'data_dir': DATA_DIR.value,
      'task.train': self.problems,
      'budgets': budgets,
      'mesh.fsdp': 1,
      'mesh.tensor': 1,
      'engine.slots': 64,
      'train.micro_batches': 1,
      'grading.second_opinion': False,  # But for the row `opinions`.
    }

  def command(self, *more: str, until: str = '') -> list[str]:
    runs = ['-c', BEGINS] if until else ['-m', 'sweb_jax.main']
    fields = [f'--config.{name}={value}' for name, value in self.fields.items()]
    return [sys.executable, *runs, f'--config={CONFIG}', *fields, f'--workdir={self.folder}', *more]


def main(_) -> None:
  for name in ('data_dir', 'tokenizer', 'out'):
    if not flags.FLAGS[name].value:
      raise app.UsageError(f'--{name} is needed')
  if unknown := set(ROWS.value) - set(ALL):
    raise app.UsageError(f'--rows={",".join(sorted(unknown))}: rows are {", ".join(ALL)}')
  path = Path(OUT.value) / 'scale.json'
  path.parent.mkdir(parents=True, exist_ok=True)
  make_models()
  found = json.loads(path.read_text()) if path.exists() else []
  for size in (Size(float(s)) for s in SIZES.value):
    for row in ROWS.value or ALL:
      measured = {'row': row, 'size': size.size} | ALL[row](size)
      print(json.dumps(measured), flush=True)
      found = [f for f in found if (f['row'], f['size']) != (row, size.size)] + [measured]
      path.write_text(json.dumps(found, indent=1))
  show(found)


def measure(size: Size, *more: str, until: str = '', module: list[str] | None = None) -> dict[str, float]:
  """Runs a command and says what it took: CPU seconds with its own processes, wall seconds, and peak memory."""
  command = [sys.executable, '-m', *module] if module else size.command(*more, until=until)
  environment = os.environ | {'UNTIL': until, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)}
  begun = time.monotonic()
  log = size.folder.parent / f'{size.folder.name}.log'
  with open(log, 'w') as file:
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT)
    _, status, used = os.wait4(process.pid, 0)
  if status:
    sys.exit(f'Error: {" ".join(map(str, command))} ended with status {status}; its output is in {log}')
  peak = used.ru_maxrss * (1 if sys.platform == 'darwin' else 1024) / 1e6
  seconds = {'cpu_s': used.ru_utime + used.ru_stime, 'wall_s': time.monotonic() - begun}
  return {name: round(value, 1) for name, value in (seconds | {'peak_mb': peak}).items()}


def in_a_child(work: Callable[..., None]) -> Callable[..., None]:
  """As it is, in a process of its own: what this one holds would count as the memory of those it starts."""

  @functools.wraps(work)
  def wrapped(*args) -> None:
    child = multiprocessing.get_context('fork').Process(target=work, args=args)
    child.start()
    child.join()
    if child.exitcode:
      sys.exit(f'Error: {work.__name__} failed')

  return wrapped


@in_a_child
def make_models() -> None:
  """Three models with the vocabulary of Gemma and few weights: SE has three times the weights of WC."""
  if all((Path(OUT.value) / name / 'config.json').exists() for name in ('wc', 'se', 'student')):
    return
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  import jax

  from sweb_jax.models.gemma.config import ModelConfig
  from sweb_jax.models.source import save_model
  from sweb_jax.models.tokenizer import Tokenizer

  raw = Path(TOKENIZER.value).read_bytes()
  tokenizer = Tokenizer.from_bytes(gzip.decompress(raw) if raw[:2] == b'\x1f\x8b' else raw)
  for name, width in (('wc', 8), ('se', 24), ('student', 8)):
    config = ModelConfig(tokenizer.vocab_size, width, 16, 1, 1, 1, 8)
    save_model(Path(OUT.value) / name, config, config.init(jax.random.key(0)), tokenizer)


def plan(size: Size) -> dict[str, float]:
  return measure(size, '--dry_run')


def fresh(size: Size) -> dict[str, float]:
  """Before the first sample of a study."""
  shutil.rmtree(size.folder, ignore_errors=True)
  return measure(size, '--stages=plan,sample', until='device')


def resumed(size: Size) -> dict[str, float]:
  """Of a study in which the last chunk of each generator is missing."""
  make_samples(size)
  last = [sorted((size.folder / 'samples/set0' / g).glob('chunk-*.jsonl'))[-1] for g in ('wc', 'se')]
  aside = [path.rename(path.with_suffix('.aside')) for path in last]
  try:
    return measure(size, '--stages=sample', until='device')
  finally:
    for path, was in zip(last, aside, strict=True):
      was.rename(path)


def sampled(size: Size) -> dict[str, float]:
  """A stage in which nothing is missing: it is charged, and marked as done."""
  return measure(size, '--stages=sample')


def grade(size: Size) -> dict[str, float]:
  """By the own grader: verdicts, votes, examples and their ids, anew."""
  for folder in ('verdicts', 'examples', 'tokenised', 'second_opinions'):
    shutil.rmtree(size.folder / folder, ignore_errors=True)
  return measure(size, '--stages=grade')


def opinions(size: Size) -> dict[str, float]:
  """math-verify's opinion on everything, beside the verdicts that are there."""
  return measure(size, '--stages=grade', '--config.grading.second_opinion=True')


def train(size: Size) -> dict[str, float]:
  """Before the first step of a training, another one having been stopped before."""
  train_first(size)
  return measure(size, '--stages=train', until='step')


def train_first(size: Size) -> dict[str, float]:
  """Before the first step of a study's first training."""
  shutil.rmtree(size.folder / 'models', ignore_errors=True)
  return measure(size, '--stages=train', until='step')


def report(size: Size) -> dict[str, float]:
  mark_done(size)
  return measure(size, '--stages=report')


def finished(size: Size) -> dict[str, float]:
  """All stages of a study that is done."""
  return measure(size)


def simulate(size: Size) -> dict[str, float]:
  return measure(size, module=['sweb_jax.budget', 'simulate', str(size.folder), f'--out={size.folder}.simulated'])


ALL = {
  f.__name__: f
  for f in (plan, fresh, resumed, sampled, grade, opinions, train_first, train, report, finished, simulate)
}


@in_a_child
def make_samples(size: Size) -> None:
  """Writes what both generators would have drawn, problem by problem, the longest prompt first."""
  from etils import epath

  from sweb_jax import layout, records
  from sweb_jax.records import Problem, Sample
  from sweb_jax.runtime import manifest
  from sweb_jax.sampling import Store
  from sweb_jax.study import state

  for step in steps(size, 'samples'):
    manifest.write(epath.Path(size.folder), step.folder, state.of(step))

  problems = list(records.read(Problem, size.folder / layout.problems(0, 'train') / layout.PROBLEMS))
  sentences = [s for p in problems for s in re.findall(r'[^.]+\.\s', p.solutions[0].split(r'\boxed')[0])]
  deep = round(max(1, size.size))
  for g, count in (('wc', 30 * deep), ('se', 10 * deep)):
    folder = size.folder / layout.samples(0, g)
    if (folder / layout.numbered(layout.CHUNKS, 0)).exists():
      continue
    store, rng = Store(folder), np.random.default_rng((len(problems), count))
    for p in sorted(problems, key=lambda p: -len(p.text)):
      other = problems[int(rng.integers(len(problems)))].gold
      for i in range(count):
        tokens = int(np.clip(rng.gamma(4, TOKENS / 4), 20, 1023))
        said, room = [' '], tokens * CHARACTERS
        while room > 0:
          said.append(sentences[int(rng.integers(len(sentences)))])
          room -= len(said[-1])
        answer = p.gold if rng.random() < RIGHT else (other, str(int(rng.integers(40))))[int(rng.integers(2))]
        cut = rng.random() < CUT
        text = ''.join(said) + ('' if cut else rf'So the answer is $\boxed{{{answer}}}$.')
        ids = (*rng.integers(4, 250_000, 1024 if cut else tokens).tolist(), *(() if cut else (1,)))
        store.add(Sample(p.id, i, text, ids, 'length' if cut else 'stop', -float(tokens)))
    store.flush()


@in_a_child
def mark_done(size: Size) -> None:
  """Marks what was not computed here as done, and without a result."""
  from etils import epath

  from sweb_jax.study import state

  for step in steps(size, 'models', 'scores'):
    state.finish(epath.Path(size.folder), step, time.time(), 'not computed here')


def steps(size: Size, *kinds: str) -> list:
  """The steps of the study of some kinds."""
  from sweb_jax import config as config_lib
  from sweb_jax.study import opened

  config = config_lib.resolve(runpy.run_path(str(ROOT / CONFIG))['get_config'](), ())
  for name, value in size.fields.items():
    section, _, last = name.rpartition('.')
    config_lib.get(config, section)[last] = value
  return [step for step in opened.open_study(config).graph.steps if step.kind in kinds]


def show(found: list[dict]) -> None:
  """Tables of seconds and of memory, by row and size, with the exponents between neighbouring sizes."""
  for name, title in (('cpu_s', 'CPU seconds'), ('peak_mb', 'peak memory, MB')):
    sizes = sorted({f['size'] for f in found})
    print(f'\n| {title} | {" | ".join(f"{s:g}" for s in sizes)} | exponents |\n|{" --- |" * (len(sizes) + 2)}')
    for row in ALL:
      values = {f['size']: f[name] for f in found if f['row'] == row}
      there = sorted(values)
      grown = [
        f'{math.log(values[b] / values[a]) / math.log(b / a):.2f}' for a, b in itertools.pairwise(there)
      ]
      print(f'| {row} | {" | ".join(str(values.get(s, "")) for s in sizes)} | {", ".join(grown)} |')


if __name__ == '__main__':
  app.run(main)
