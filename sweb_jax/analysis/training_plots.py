"""Plots of trainings: what happened step by step, and what accuracy cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweb_jax.analysis.drawing import (
  GOLD_COLOR,
  MARKERS,
  SEVERAL,
  as_svg,
  legend_below,
  log_costs,
  new_figure,
)
from sweb_jax.analysis.table import Table
from sweb_jax.budget import GOLD

FIGURES = ('loss', 'validation accuracy')


def curves(table: Table, colors: Mapping[str, str]) -> str:
  """A row of panels a learner: its loss and its validation accuracy by step, a line a source."""
  from matplotlib.ticker import MaxNLocator

  rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
  learners, sources = (list(dict.fromkeys(row[name] for row in rows)) for name in ('learner', 'source'))
  plot, panels = new_figure(0.5 + 1.7 * len(learners) + 0.06 * len(sources), len(learners), len(FIGURES))
  for i, learner in enumerate(learners):
    for axes, figure in zip(panels[i * len(FIGURES) :], FIGURES, strict=False):
      for j, source in enumerate(sources):
        line = [r for r in rows if (r['learner'], r['source'], r['figure']) == (learner, source, figure)]
        color = colors.get(line[0]['generator'], GOLD_COLOR if source == GOLD else SEVERAL) if line else SEVERAL
        axes.plot(
          [r['step'] for r in line], [r['value'] for r in line], color=color, marker=MARKERS[j % len(MARKERS)],
          markersize=3, markevery=max(1, len(line) // 3), linewidth=1, label=source,
        )  # fmt: skip
      axes.set_title(f'{learner}: {figure}', fontsize=8)
      axes.set_ylim(bottom=0)
      axes.tick_params(labelsize=7)
  for axes in panels:
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
  for axes in panels[-len(FIGURES) :]:
    axes.set_xlabel('step', fontsize=8)
  legend_below(plot, panels[0], 4)
  return as_svg(plot, table.name)


def costs(table: Table, columns: Sequence[str], colors: Mapping[str, str]) -> str:
  """Accuracy against each of the columns of cost, a panel each: a colour a generator, a marker a learner."""
  rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
  learners = list(dict.fromkeys(row['learner'] for row in rows))
  plot, panels = new_figure(0.6 + 2.6 * len(columns), len(columns))
  for axes, column in zip(panels, columns, strict=True):
    for row in rows:
      if row[column]:  # A logarithm has no place for what costs nothing.
        value, low, high = (row[f'greedy pass@1{end}'] for end in ('', ' low', ' high'))
        color = colors.get(row['generator'], GOLD_COLOR if row['source'] == GOLD else SEVERAL)
        marker = MARKERS[learners.index(row['learner']) % len(MARKERS)]
        axes.plot([row[column]] * 2, [low, high], color=color, linewidth=0.8, alpha=0.6)
        axes.plot([row[column]], [value], marker, color=color, markersize=5)
    names = {row['generator'] or (GOLD if row['source'] == GOLD else 'several'): row for row in rows}
    for name, row in names.items():
      color = colors.get(row['generator'], GOLD_COLOR if name == GOLD else SEVERAL)
      axes.plot([], [], '-', color=color, linewidth=3, label=f'data: {name}')
    for i, learner in enumerate(learners):
      axes.plot([], [], MARKERS[i % len(MARKERS)], color='black', markerfacecolor='none', label=f'learner: {learner}')
    log_costs(axes, column.rpartition(', ')[2])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f'{column}, of one question set')
    axes.set_ylabel('greedy pass@1')
  legend_below(plot, panels[0], 3)
  return as_svg(plot, table.name)
