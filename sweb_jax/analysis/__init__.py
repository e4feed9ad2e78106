"""From the files of a workdir to numbers: what the data are worth, what they teach, and how sure one may be.

`write` makes the report of a workdir, finished or not, `show` its short form for the terminal. The statistics are pure
functions on arrays: `metrics` (coverage, diversity, false positives, majority vote) and `intervals` (Wilson,
bootstrap, t over question sets). Free of JAX.
"""

from sweb_jax.analysis.intervals import compare, estimate, holm, paired_bootstrap, t_interval, verdict, wilson
from sweb_jax.analysis.metrics import (
  coverage,
  diversity,
  equations_key,
  false_positives,
  majority,
  pass_at_k,
)
from sweb_jax.analysis.report import answer, read_tables, show, write
from sweb_jax.analysis.results import Results, read
from sweb_jax.analysis.study import AnalysisError, Listed, Study, done, missing, nothing, read_study
from sweb_jax.analysis.table import Table

__all__ = [
  'AnalysisError',
  'Listed',
  'Results',
  'Study',
  'Table',
  'answer',
  'compare',
  'coverage',
  'diversity',
  'done',
  'equations_key',
  'estimate',
  'false_positives',
  'holm',
  'majority',
  'missing',
  'nothing',
  'paired_bootstrap',
  'pass_at_k',
  'read',
  'read_study',
  'read_tables',
  'show',
  't_interval',
  'verdict',
  'wilson',
  'write',
]
