"""The numbers of a report as plain tables, the same bytes for the same study: nothing here knows a clock or a host.

A figure called `x` is followed by its 95 % interval in the columns `x low` and `x high`. Rates and differences are
rounded to 4 decimals; tokens and FLOPs are exact. A row stands on the question sets that are done for it; without
one there is no row.
"""

from __future__ import annotations

from sweb_jax.analysis import breakdowns, budgets, differences, intervals, metrics, terms
from sweb_jax.analysis.cells import cells, interval_note, setup, with_bounds
from sweb_jax.analysis.results import Results
from sweb_jax.analysis.table import Table
from sweb_jax.budget import flops_per_token

NAMES = (
  *('differences', 'data', 'data_differences', 'accuracy', 'minus_base', 'pass_k', 'by_level', 'one_sided', 'spent'),
  *('arms', 'charged', 'models'),
)


def build(results: Results) -> list[Table]:
  """All tables of a study, in the order of `NAMES`; those that a page starts from, and others that have a row."""
  every = [
    differences.accuracy(results),
    data(results),
    differences.data(results),
    accuracy(results),
    differences.minus_base(results),
    breakdowns.pass_k(results),
    breakdowns.by_level(results),
    breakdowns.one_sided(results),
    spent(results),
    *budgets.build(results),
    models(results),
  ]
  return [table for table in every if table.rows or table.name in ('data', 'accuracy', 'minus_base', 'spent')]


def data(results: Results) -> Table:
  """What each arm's samples are worth before any fine-tuning."""
  study, rows = results.study, []
  for arm in study.drawn_arms:
    if sets := results.sets(results.drawn, (arm.generator,)):
      draws = [results.drawn[s, arm.generator].first(arm.samples) for s in sets]
      tokens = sum(int(d.tokens.sum()) for d in draws)
      found = terms.data(results, arm, sets)
      rows.append((
        *(arm.name, arm.generator, arm.budget, study.matched(arm), arm.samples, len(sets)),
        *(sum(len(d.correct) for d in draws), tokens, _flops(results, arm.generator, tokens)),
        *cells([intervals.estimate(found[f]) for f in terms.DATA]),
        *(sum(int(d.correct.sum()) for d in draws), round(sum(float(t[:, 1].sum()) for t in found['FPR']))),
      ))
  return Table(
    'data',
    'The data each arm drew',
    (
      *('arm', 'generator', 'budget', 'matched', 'k', 'sets', 'problems', 'tokens', 'FLOPs'),
      *with_bounds(terms.DATA),
      *('kept', 'judged'),
    ),
    tuple(rows),
    'k: samples a problem. coverage@k: expected share of problems with a correct sample among k, and diversity@k: '
    'expected number of different correct solutions among k (white space aside), both unbiased from all samples '
    'drawn; "solved" divides by the expected number of solved problems, "all" by all problems; "equations" (of solved '
    'problems too) takes solutions for the same that write the same equations in the same order, and those without one '
    'by their text. kept: correct samples among the first k, over all sets. FPR: share of the judged ones among them '
    'whose reasoning is wrong. truncated: share of samples cut at the length limit, wrong and charged. stopped: share '
    'that a stop token ended; the others were cut there or ended by a stop string. FLOPs: 2 x parameters x tokens '
    'drawn. '
    + interval_note(results.study),
  )


def accuracy(results: Results) -> Table:
  """Every learner before and after fine-tuning on every source."""
  study = results.study
  figures = ['greedy pass@1', *(f'{name}@{k}' for name in ('maj', 'pass') for k in study.maj_k), 'truncated']
  rows = []
  for learner in study.learners:
    for source in study.sources:
      if not (sets := results.sets(results.greedy, (learner, source))):
        continue
      found = [terms.greedy(results, learner, source, sets)]
      for measured in (
        *(lambda d, k=k: metrics.majority(d.votes, d.correct, k) for k in study.maj_k),
        *(lambda d, k=k: metrics.pass_at_k(d.correct, k) for k in study.maj_k),
      ):
        found.append(terms.by_seed(results.sampled, learner, source, sets, measured))
      found.append(terms.by_seed(results.greedy, learner, source, sets, lambda d: d.truncated[:, 0]))
      chosen = [c for s in sets for c in results.selections.get((s, learner, source), ())]
      rows.append((
        *(learner, source, setup(study, learner, source), *cells([intervals.estimate(t) for t in found])),
        *(len(sets), sum(t.shape[1] for t in found[0]), sum(len(t) for t in found[0])),
        *((' '.join(f'{c.learning_rate:g}' for c in chosen), ' '.join(str(c.step) for c in chosen)) if chosen else ()),
        *((sum(c.examples for c in chosen),) if chosen else (None, None, None)),
      ))
  return Table(
    'accuracy',
    'Accuracy on test problems',
    (
      *('learner', 'source', 'setup', *with_bounds(figures), 'sets', 'n', 'evaluations'),
      *('learning rate, by set', 'step, by set', 'examples'),
    ),
    tuple(rows),
    'n: test problems over all sets; evaluations: models that answered them, one a set and seed of fine-tuning, whose '
    'mean is given. maj@k: the most frequent answer of the first k samples at temperature; a sample '
    'without an answer does not vote, a tie goes to the answer that came first. truncated: greedy solutions cut at '
    'the length limit. Learning rate and step were chosen on validation problems, for each evaluation. examples: '
    'rows to fine-tune on, over all of them. ' + interval_note(study),
  )


def spent(results: Results) -> Table:
  """Tokens charged, counted from the samples, beside the plan's; the workdir keeps no samples of other kinds."""
  study = results.study
  evaluations = [*results.greedy.items(), *results.sampled.items()]
  counted = {
    **{('sample', g): [d for (_, of), d in results.drawn.items() if of == g] for g in study.generators},
    **{('evaluate', m): [d for (_, of, _), seeds in evaluations if of == m for d in seeds] for m in study.learners},
  }
  rows = []
  works = [work for step in study.steps for work in step.work]
  planned_for = ((work['kind'], work['model']) for work in works)
  for kind, model in dict.fromkeys([*(key for key, draws in counted.items() if draws), *planned_for]):
    mine = [work for work in works if (work['kind'], work['model']) == (kind, model)]
    planned = [sum(work[field] for work in mine) if mine else None for field in ('samples', 'tokens', 'flops')]
    used: list[int | None] = [None] * 3
    if draws := counted.get((kind, model)):
      tokens = sum(int(d.tokens.sum()) for d in draws)
      used = [sum(d.tokens.size for d in draws), tokens, _flops(results, model, tokens)]
    rows.append((kind, model, *(cell for pair in zip(planned, used, strict=True) for cell in pair)))
  return Table(
    'spent',
    'Tokens planned and spent',
    ('kind', 'model', 'samples planned', 'samples', 'tokens planned', 'tokens', 'FLOPs planned', 'FLOPs'),
    tuple(rows),
    'sample: training data; evaluate: greedy and drawn solutions of test problems; every generated token is charged, '
    'kept or not. Training and validation stand as planned: their tokens are not kept. FLOPs: 2 x parameters x tokens '
    'generated; the planned ones also hold what is spent on prompts.',
  )


def models(results: Results) -> Table:
  """Who computed each model that has a part in the study."""
  study = results.study
  names = [name for name in study.parameters if name in (*study.generators, *study.learners, study.judge)]
  return Table(
    'models',
    'Models',
    ('model', 'parameters', 'implementation'),
    tuple((name, study.parameters[name] or None, study.implementations.get(name)) for name in names),
    'implementation: what drew from the model in this study, or fine-tuned it: native is the forward pass of this '
    "project, gemma the gemma library's own modules.",
  )


def _flops(results: Results, model: str, tokens: int) -> int | None:
  """Of drawing so many tokens; None where the size of the model is not known."""
  parameters = results.study.parameters[model]
  return flops_per_token(parameters) * tokens if parameters else None
