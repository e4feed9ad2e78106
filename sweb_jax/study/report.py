"""The report: what the study found, from the files of the other steps."""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

from sweb_jax import analysis, layout
from sweb_jax.study.context import Context
from sweb_jax.study.step import Step, as_json, digest


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Report(Step):
  """Tables, figures and pages of what is done."""

  kind: ClassVar[str] = 'report'
  stage: ClassVar[str] = 'report'
  format: ClassVar[int] = 2
  derived: ClassVar[bool] = True
  divided: ClassVar[bool] = False

  steps: tuple[Step, ...]
  """All others of the study."""

  @property
  def folder(self) -> str:
    return layout.REPORT

  @property
  def inputs(self) -> tuple[Step, ...]:
    return self.steps

  @property
  def needs(self) -> tuple[Step, ...]:
    return ()

  @functools.cached_property
  def version(self) -> str:
    """How far the others go counts too."""
    return digest([self.format, as_json(self.settings), [[s.version, as_json(s.extent)] for s in self.steps]])

  def run(self, context: Context) -> None:
    analysis.write(context.root, context.tasks['test'].prompt, context.hosts.progressed)
    context.meter.add()
