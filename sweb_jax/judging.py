"""The job of a judge: says of samples whether their reasoning is right.

For the false positive rate it reads some of the kept samples, chosen by the seed, beside a solution that is right. For
arms with the filter 'judge' it reads every whole sample and no solution, and writes what each of these arms keeps.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from etils import epath
from ml_collections import ConfigDict

from sweb_jax import budget, examples, records
from sweb_jax.answers import judge
from sweb_jax.answers.judge import Opinion
from sweb_jax.budget import Arm, Ledger, Prompts
from sweb_jax.config import ConfigError
from sweb_jax.jobs import Jobs, in_order
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime import files
from sweb_jax.runtime.hosts import DistributedError
from sweb_jax.runtime.progress import Meter
from sweb_jax.sampling import Request, Store
from sweb_jax.tasks.rendering import Renderer
from sweb_jax.tasks.splits import digest


def check(config: ConfigDict, arms: Sequence[Arm]) -> None:
  """Raises ConfigError for an arm that a judge cannot filter, JudgeError where there is no prompt for the judge."""
  if shared := [a.name for a in arms if a.policy and examples.by_judge(config, a)]:
    why = f'arm {shared[0]!r} has a policy, which decides by right answers as it draws; name another filter'
    raise ConfigError(f"config.data.filter='judge': {why}")
  if config.judge.model:
    judge.worked_examples(config.task.name, gold=config.judge.gold)


def most(config: ConfigDict, arms: Sequence[Arm], generator: str) -> int:
  """Samples of a generator that are judged on a question set, at most; 0: there is no such job."""
  if not config.judge.model:
    return 0
  own = [a for a in arms if a.generator == generator]
  drawn = max((a.whole for a in own), default=0)
  every = max((a.whole for a in own if examples.by_judge(config, a)), default=0)
  return min(config.task.train * drawn, config.judge.samples) + config.task.train * every


def run(folder: epath.Path, jobs: Jobs, question_set: int, generator: str, arms: Sequence[Arm], meter: Meter) -> None:
  """Writes `judged.jsonl` (for the FPR), and for arms that a judge filters `blind.jsonl` and what they keep.

  Args:
    folder: of the job.
    jobs: the models, and what grades.
    question_set: number of the set.
    generator: whose samples are judged.
    arms: those of the generator that keep what the judge says is right.
    meter: moved by one.
  """
  config, leads = jobs.config, jobs.hosts.leads
  problems = jobs.problems(question_set, 'train')
  samples = in_order(problems, Store(jobs.workdir / f'samples/set{question_set}/{generator}').read())
  verdicts = list(records.read(Verdict, jobs.workdir / f'grades/set{question_set}/{generator}.jsonl'))
  if config.judge.samples:
    correct = {(v.problem_id, v.index) for v in verdicts if v.correct}
    kept = [s for s in samples if (s.problem_id, s.index) in correct]
    seed = config.seed + question_set
    chosen = sorted(kept, key=lambda s: digest(f'{seed} {s.problem_id} {s.index}'))[: config.judge.samples]
    found = _ask(jobs, folder / 'kept', question_set, problems, in_order(problems, chosen), config.judge.gold, meter)
    if leads:
      files.write_text(folder / 'judged.jsonl', records.dumps(found))
  if arms:
    first = max(a.samples for a in arms)
    whole = [s for s in samples if s.index < first and s.finish != 'length']
    found = _ask(jobs, folder / 'all', question_set, problems, whole, False, meter)
    if leads:
      _keep(folder, jobs, generator, arms, problems, samples, verdicts, found)
  meter.add()


def _keep(
  folder: epath.Path,
  jobs: Jobs,
  generator: str,
  arms: Sequence[Arm],
  problems: Sequence[Problem],
  samples: Sequence[Sample],
  verdicts: Sequence[Verdict],
  found: Sequence[Opinion],
) -> None:
  """Writes the opinions that decide, what each arm keeps by them, and what it costs with its judge."""
  files.write_text(folder / 'blind.jsonl', records.dumps(found))
  opinions = {(o.problem_id, o.index): o.right for o in found}
  examples.write(folder, jobs, generator, arms, problems, samples, verdicts, opinions)
  prefix = len(_renderer(jobs, gold=False).prefix)
  for arm in arms:
    _charge(folder / f'{arm.name}.charge.json', jobs, prefix, [o for o in found if o.index < arm.samples])


def _renderer(jobs: Jobs, *, gold: bool) -> Renderer:
  name = jobs.config.judge.model
  examples = judge.worked_examples(jobs.config.task.name, gold=gold)
  return Renderer(jobs.models[name].tokenizer, examples, name in jobs.config.chat)


def _ask(
  jobs: Jobs,
  folder: epath.Path,
  question_set: int,
  problems: Sequence[Problem],
  samples: Sequence[Sample],
  gold: bool,
  meter: Meter,
) -> list[Opinion]:
  """The judge's opinion on each sample, in order; its words stay in the folder, and what it said is not asked again."""
  config, model = jobs.config, jobs.config.judge.model
  renderer, by_id = _renderer(jobs, gold=gold), {p.id: p for p in problems}
  requests = []
  for s in samples:
    problem = by_id[s.problem_id]
    solution = (problem.solutions[0] if problem.solutions else problem.gold) if gold else None
    # Every sample has a prompt of its own, and is a problem of its own to the engine and the ledger.
    requests.append(Request(_name(s), 0, renderer.prompt(judge.prompt(problem.text, s.text, solution))))
  read = {r.problem_id: Prompts(len(renderer.prefix), len(r.prompt), config.cost.share_prefix) for r in requests}
  folder /= model
  hosts, store = jobs.hosts, Store(folder, jobs.hosts.prefix)
  ledger = Ledger(folder, job=jobs.job_name(folder), model=model, prompts=read, kind='judge')
  if hosts.leads:
    ledger.settle()
  have = {s.problem_id for s in store.read()}
  hosts.meet(f'read {jobs.job_name(folder)}')
  stop_strings = () if model in config.chat else judge.STOP_STRINGS
  left = [r for r in requests if r.problem_id not in have and hosts.mine(r.problem_id)]
  begun = time.monotonic()
  try:
    for s in jobs.reply(model, question_set, renderer, left, stop_strings, config.judge.max_new_tokens):
      if hosts.speaks:
        store.add(s)
      meter.add(0, tokens=len(s.tokens))
    store.flush()
    hosts.barrier(f'judged {jobs.job_name(folder)}')
  finally:
    store.flush()  # Also what was finished before an error.
    if hosts.leads:
      ledger.settle(seconds=(time.monotonic() - begun) * jobs.drawing.train_mesh.size)
  said = {s.problem_id: s for s in store.read()}
  if lack := len(read.keys() - said.keys()):
    raise DistributedError(f'{folder}: {lack} answers of the judge are missing; does an earlier run still write there?')
  return [_opinion(s, said[_name(s)], read[_name(s)]) for s in samples]


def _name(sample: Sample) -> str:
  return f'{sample.problem_id}/{sample.index}'


def _opinion(sample: Sample, reply: Sample, read: Prompts) -> Opinion:
  right = judge.read(reply.text) if reply.finish == 'stop' else None
  return Opinion(sample.problem_id, sample.index, right, len(reply.tokens), read.prompt)


def _charge(path: epath.Path, jobs: Jobs, prefix: int, opinions: Sequence[Opinion]) -> None:
  """Adds what the judge read and drew for an arm to what the arm was charged."""
  model, shared = jobs.config.judge.model, jobs.config.cost.share_prefix
  names = [f'{o.problem_id}/{o.index}' for o in opinions]
  read = {n: Prompts(prefix, o.read, shared) for n, o in zip(names, opinions, strict=True)}
  lengths = {n: [o.tokens] for n, o in zip(names, opinions, strict=True)}
  charge = json.loads(path.read_text())
  spent = {name: budget.charged(cost, model, read, lengths) for name, cost in jobs.costs.items()}
  charge['spent'] = {name: amount + spent[name] for name, amount in charge['spent'].items()}
  tokens = sum(o.tokens for o in opinions)
  charge['judge'] = {'model': model, 'samples': len(opinions), 'tokens': tokens, 'spent': spent}
  files.write_json(path, charge)
