"""Runs systems alternately on one workload and prints the ratios of their medians, as a table for the docs.

    python benchmarks/compare.py --model=DIR --workload=FILE.json [--rounds=3] [--systems=sweb_jax,gemma,huggingface]

Systems: `sweb_jax`; `library`, this project's engine with `--implementation=gemma`; and those of rivals.py.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from absl import app, flags

MODEL = flags.DEFINE_string('model', None, 'Hugging Face directory.', required=True)
WORKLOAD = flags.DEFINE_string('workload', None, 'Workload file.', required=True)
ROUNDS = flags.DEFINE_integer('rounds', 3, 'Processes of each system.')
SYSTEMS = flags.DEFINE_list('systems', ['sweb_jax', 'gemma', 'huggingface'], 'The last is the unit of the ratios.')
OURS = flags.DEFINE_string('ours', '', 'Further flags of sampling.py.')
THEIRS = flags.DEFINE_string('theirs', '', 'Further flags of rivals.py.')


def main(_) -> None:
  here = Path(__file__).parent
  found: dict[str, list[dict]] = {s: [] for s in SYSTEMS.value}
  for _ in range(ROUNDS.value):
    for system in SYSTEMS.value:
      with tempfile.NamedTemporaryFile(suffix='.json') as out:
        script = ['sampling.py', *OURS.value.split()]
        if system == 'library':
          script += ['--implementation=gemma']
        elif system != 'sweb_jax':
          script = ['rivals.py', f'--system={system}', *THEIRS.value.split()]
        command = [here / script[0], *script[1:], f'--model={MODEL.value}', f'--workload={WORKLOAD.value}']
        subprocess.run([sys.executable, *command, f'--out={out.name}'], check=True, stdout=subprocess.DEVNULL)
        found[system].append(json.loads(Path(out.name).read_text()))
      print(system, found[system][-1], file=sys.stderr)
  speeds = {s: statistics.median(r['useful_tokens'] / r['seconds'] for r in runs) for s, runs in found.items()}
  unit = speeds[SYSTEMS.value[-1]]
  print('| system | tokens/s | ratio | peak memory |\n| --- | --- | --- | --- |')
  for system, runs in found.items():
    memory = statistics.median(r['peak_rss_mb'] for r in runs) / 1024
    print(f'| {system} | {speeds[system]:.1f} | {speeds[system] / unit:.1f} | {memory:.1f} GB |')


if __name__ == '__main__':
  app.run(main)
