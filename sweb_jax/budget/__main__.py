"""Replays recorded samples under policies and budgets, and says what a workdir was charged.

    python -m sweb_jax.budget simulate WORKDIR... --policies=uniform,until_solved,cascade:10 --out=DIR
    python -m sweb_jax.budget spent WORKDIR

The first writes DIR/simulated.csv and DIR/simulated.svg: coverage, diversity and the size of the data set against what
was spent, by policy, with 95 % bootstrap intervals over the problems. Budgets are for the training problems of one
question set. The second prints the ledger: tokens by job, model and kind, and the device seconds of a drawn token.
"""

from __future__ import annotations

import collections
import io
import sys

import numpy as np
from absl import app, flags
from etils import epath

from sweb_jax import analysis, budget, records
from sweb_jax.analysis.drawing import COLORS
from sweb_jax.analysis.table import Table
from sweb_jax.budget import simulate as simulating
from sweb_jax.runtime import files, terminal

_POLICIES = flags.DEFINE_list(
  'policies',
  ['uniform', 'until_solved', 'by_difficulty', 'cascade', 'mixture'],
  'Names of the config, or kinds with a number: until_solved:2, by_difficulty:4, cascade:10, mixture:0.5.',
)
_BUDGETS = flags.DEFINE_list(
  'budgets', [], 'Budgets in the unit of --cost; none: 1, 2, 4, ... samples a problem of the cheapest generator.'
)
_COST = flags.DEFINE_string('cost', 'paper', f'What counts as cost: {", ".join(budget.UNITS)}.')
_PRICES = flags.DEFINE_list('prices', [], 'For --cost=price: generator:INPUT:OUTPUT, dollars a million tokens.')
_SECONDS = flags.DEFINE_list('seconds', [], 'For --cost=seconds: generator:SECONDS, of a drawn token.')
_OUT = flags.DEFINE_string('out', None, 'Folder for the table and the picture.')

_FIGURES = {
  'solved': 'share of problems solved',
  'unique': 'unique correct solutions a problem',
  'correct': 'correct samples a problem',
}


def main(argv: list[str]) -> None:
  try:
    match argv[1:]:
      case ['simulate', _, *_]:
        simulate(argv[2:])
      case ['spent', workdir]:
        spent(workdir)
      case _:
        raise app.UsageError('give simulate WORKDIR... or spent WORKDIR')
  except (budget.BudgetError, records.RecordError, OSError) as e:
    print(f'Error: {e}', file=sys.stderr)
    sys.exit(1)


def simulate(workdirs: list[str]) -> None:
  """Replays the question sets of all workdirs. Raises BudgetError before any work where a flag makes no sense."""
  if not _OUT.value:
    raise budget.BudgetError('--out=DIR is needed, for the table and the picture')
  found = [r for w in workdirs for r in simulating.read_records(w)]
  first = found[0]
  if other := next((r for r in found if r.shapes != first.shapes), None):
    raise budget.BudgetError(f'{other.name} has other generators than {first.name}; simulate them apart')
  prices, seconds = _table(_PRICES.value, 2, '--prices'), _table(_SECONDS.value, 1, '--seconds')
  cost = budget.Cost(_COST.value, first.shapes, prices, seconds)
  cost.check(tuple(first.shapes))
  policies = simulating.named(_POLICIES.value, first)
  budgets = _numbers(_BUDGETS.value, '--budgets') or _doubling(first, cost)
  columns = (
    *('policy', f'budget, {cost.unit}', f'spent, {cost.unit}', 'samples', 'ended', 'problems'),
    *(f'{figure}{end}' for figure in _FIGURES for end in ('', ' low', ' high')),
  )
  rows = []
  for name, policy in policies.items():
    for amount in budgets:
      bought = [simulating.simulate(r, policy, amount, cost) for r in found]
      figures = []
      for figure in _FIGURES:
        values = [np.array(getattr(b, figure), float) for b in bought]
        bounds = analysis.paired_bootstrap(values)
        figures += [round(float(x), 4) for x in (np.mean([v.mean() for v in values]), bounds.low, bounds.high)]
      rows.append((
        *(name, amount, sum(b.spent for b in bought) / len(bought), sum(b.samples for b in bought)),
        *('record' if any(b.ended == 'record' for b in bought) else 'budget', len(first.problems) * len(bought)),
        *figures,
      ))
  table = Table('simulated', 'Recorded samples under each policy and budget', columns, tuple(rows), '')
  out = epath.Path(_OUT.value)
  files.write_text(out / 'simulated.csv', table.csv())
  files.write_text(out / 'simulated.svg', picture(table, cost))
  headers, cells = table.readable()
  for row in (headers, *cells):
    print('  '.join(cell.ljust(24)[:24] if i == 0 else cell.rjust(20) for i, cell in enumerate(row)))
  if any(row[4] == 'record' for row in rows):
    print("ended 'record': the policy wanted samples that were not recorded, and left some of the budget.")
  print(f'{out / "simulated.csv"}, {out / "simulated.svg"}')


def picture(table: Table, cost: budget.Cost) -> str:
  """The table as SVG: a panel a figure, a line a policy, its band the 95 % interval."""
  from matplotlib.figure import Figure

  plot = Figure(figsize=(11, 4), layout='constrained')
  names = list(dict.fromkeys(table.column('policy')))
  for i, (figure, label) in enumerate(_FIGURES.items()):
    axes = plot.add_subplot(1, len(_FIGURES), i + 1)
    for j, name in enumerate(names):
      at = [k for k, n in enumerate(table.column('policy')) if n == name]
      x, y, low, high = (
        [table.column(c)[k] for k in at] for c in (f'spent, {cost.unit}', figure, f'{figure} low', f'{figure} high')
      )
      color = COLORS[j % len(COLORS)]
      axes.plot(x, y, marker='osD^vP*X'[j % 8], markersize=4, color=color, label=name)
      axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
    axes.set_xscale('log')
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f'spent, {cost.unit} a question set ({cost.name})')
    axes.set_ylabel(label)
    axes.spines[['top', 'right']].set_visible(False)
  plot.legend(*plot.axes[0].get_legend_handles_labels(), loc='outside lower center', ncols=6, frameon=False)
  text = io.StringIO()
  plot.savefig(text, format='svg', metadata={'Date': None})
  return text.getvalue()


def spent(workdir: str) -> None:
  """Prints the ledger of a workdir, and what a drawn token took of a device."""
  if not epath.Path(workdir).exists():
    raise budget.BudgetError(f'{workdir}: there is no such folder')
  entries = budget.read(workdir)
  if not entries:
    raise budget.BudgetError(f'{workdir}: no samples were charged there; run the stage sample first')
  tokens: collections.Counter = collections.Counter()
  timed: collections.Counter = collections.Counter()
  for e in entries:
    for kind, n in e.tokens.items():
      tokens[e.job, e.model, kind] += n
    timed[e.job, e.model] += e.seconds
  print(f'{"step":40} {"model":10} {"kind":12} {"tokens":>14}')
  for (job, model, kind), n in tokens.items():
    print(f'{job:40} {model:10} {kind:12} {n:>14,}')
  for model, counts in budget.by_model(entries).items():
    for kind, n in counts.items():
      print(f'{"all":40} {model:10} {kind:12} {n:>14,}')
  print(f'{"all":40} {"":10} {"":12} {sum(tokens.values()):>14,}')
  for model in dict.fromkeys(m for (_, m), s in timed.items() if s):
    seconds = sum(s for (_, m), s in timed.items() if m == model)
    drawn = sum(n for (j, m, k), n in tokens.items() if m == model and k == 'completion' and timed[j, m])
    print(f'{model}: {seconds:.1f} device seconds for {drawn:,} tokens of training data, {seconds / drawn:.3g} a token')


def _table(entries: list[str], numbers: int, flag: str) -> dict:
  made = {}
  for entry in entries:
    name, *values = entry.split(':')
    parsed = _numbers(values, flag)
    if len(parsed) != numbers:
      raise budget.BudgetError(f'{flag}={entry}: give a generator and {numbers} number(s) after colons')
    made[name] = tuple(parsed) if numbers > 1 else parsed[0]
  return made


def _numbers(texts: list[str], flag: str) -> list[float]:
  try:
    return [float(t) for t in texts]
  except ValueError as e:
    raise budget.BudgetError(f'{flag}={",".join(texts)}: {e}') from None


def _doubling(record: simulating.Record, cost: budget.Cost) -> list[float]:
  """The expected cost of 1, 2, 4, ... samples a problem, up to what is recorded of the cheapest generator."""
  g = next(iter(record.shapes))
  counts, depth = [1], record.depth(g)
  if not depth:
    raise budget.BudgetError(
      f'{record.name}: not every problem has a graded sample of {g!r}; run the stages sample and grade, or give '
      '--budgets'
    )
  while counts[-1] * 2 <= depth:
    counts.append(counts[-1] * 2)
  n = len(record.problems)
  expected = budget.typical(cost, (g,), record.prompts, record.tokens, n)
  return [budget.planned_amount({g: k}, expected, n) for k in dict.fromkeys((*counts, depth))]


if __name__ == '__main__':
  terminal.start(main)
