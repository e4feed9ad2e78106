"""Wall time of a study by stage, from the manifests of its steps."""

from __future__ import annotations

import collections

from etils import epath

from sweb_jax.analysis.study import Study
from sweb_jax.analysis.table import Table
from sweb_jax.runtime import manifest


def seconds(root: epath.Path, study: Study) -> Table:
  """Finished steps of each stage and their seconds; no row for the report, which would never hold its own."""
  steps: collections.Counter[str] = collections.Counter()
  taken: collections.Counter[str] = collections.Counter()
  for step in study.steps:
    said = manifest.read(root, step.folder)
    if said and said.done and said.version == step.version and step.kind != 'report':
      steps[step.stage] += 1
      taken[step.stage] += said.seconds
  rows = [(stage, steps[stage], round(taken[stage], 1)) for stage in steps]
  return Table(
    'time',
    'Time taken',
    ('stage', 'steps done', 'seconds'),
    (*rows, ('all', sum(steps.values()), round(sum(taken.values()), 1))) if rows else (),
    'Sum over the steps, each as long as its runs took; steps that ran side by side both count. '
    'The first calls hold the time to compile. Tokens and FLOPs are in the tables.',
  )
