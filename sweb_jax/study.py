"""The experiment as an ordered list of jobs; what is done is skipped.

A stage is a set of jobs; those that need nothing of each other run side by side. Jobs talk through files of the workdir
only, so a study may be stopped anywhere and started again.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

from absl import logging
from etils import epath
from ml_collections import ConfigDict
from rich.console import Console

import sweb_jax
from sweb_jax import allocation, analysis, budget, examples, fine_tuning, judging
from sweb_jax.config import FREE, steps_of
from sweb_jax.jobs import BASE, Jobs
from sweb_jax.planning import Plan
from sweb_jax.runtime import files, progress
from sweb_jax.runtime.hosts import Hosts, Interrupted
from sweb_jax.runtime.progress import Meter
from sweb_jax.runtime.workdir import Workdir, fingerprint
from sweb_jax.transfer import TestSet

STAGES = ('plan', 'sample', 'grade', 'train', 'evaluate', 'report')
_DIVIDED = ('sample', 'grade', 'train', 'evaluate')
"""Stages that every process has a part in; process 0 does the others."""


@dataclasses.dataclass(frozen=True)
class Job:
  """One piece of work with its own folder."""

  name: str
  """Its folder in the workdir."""
  stage: str
  after: tuple[str, ...]
  """Jobs whose files it reads."""
  items: int
  """How far it moves the stage's meter: samples drawn, steps trained, or 1."""
  run: Callable[[epath.Path, Meter], None]


class Study:
  """One config in one workdir."""

  def __init__(self, config: ConfigDict, workdir: epath.PathLike, hosts: Hosts | None = None):
    """Opens models and task, and lays out arms and jobs; no compute. Raises ValueErrors that name the field."""
    self._config = config
    self._hosts = hosts or Hosts()
    self._bodies = Jobs(config, workdir, self._hosts)
    self._workdir = Workdir(workdir)
    self._transfer = [TestSet(name, config, self._bodies) for name in config.transfer]
    self._plan = Plan(config, self._bodies, {t.name: t.count for t in self._transfer})
    self._jobs = self._list_jobs()
    self._written: list[analysis.Table] | None = None

  def run(self, stages: Sequence[str], console: Console) -> None:
    """Runs the jobs of the stages, in the order of `STAGES`, and shows the report's short form at the end."""
    if set(stages) - {'plan', 'report'}:
      self._bodies.drawing.check_machine()
    with self._workdir.lock() if self._hosts.leads else contextlib.nullcontext():
      if self._hosts.leads:
        self._workdir.claim(self._config.to_dict(), FREE)
      for stage in STAGES:
        if stage in stages:
          self._hosts.barrier(f'stage {stage}')  # What is done is the same to all from here.
          self._run_stage(stage, [j for j in self._jobs if j.stage == stage], console)
    if 'report' in stages and self._hosts.leads:
      self._report(console)

  def show_plan(self, console: Console) -> None:
    """The plan as a table: a line a kind and model, and the total."""
    self._plan.show(console)

  # --------------------------------------------------------------------------------------------------------------------

  def _list_jobs(self) -> list[Job]:
    """Every job, in an order in which each comes after those it needs."""
    c, do = self._config, self._bodies
    jobs = [Job('plan', 'plan', (), 1, lambda folder, _: files.write_json(folder / 'plan.json', self._plan.to_json()))]
    evaluated = []
    for s in range(c.question_sets):
      problems = f'problems/set{s}'
      jobs.append(Job(problems, 'plan', (), 1, lambda folder, _, s=s: self._write_problems(folder, s)))
      for g in c.generators:
        if not (count := self._plan.whole(g)):
          continue
        samples, grades = f'samples/set{s}/{g}', f'grades/set{s}/{g}'
        draw = functools.partial(_call, do.draw, s, g, count)
        jobs.append(Job(samples, 'sample', (problems,), c.task.train * count, draw))
        arms = [a for a in self._plan.arms if a.generator == g and not a.policy]
        judged = [a for a in arms if examples.by_judge(c, a)]
        grade = functools.partial(_call_plain, do.write_grades, s, g, [a for a in arms if a not in judged])
        jobs.append(Job(grades, 'grade', (problems, samples), 1, grade))
        if judging.most(c, self._plan.arms, g):
          ask = functools.partial(_call, judging.run, do, s, g, judged)
          jobs.append(Job(f'judge/set{s}/{g}', 'grade', (problems, samples, grades), 1, ask))
      jobs += [self._allocation(s, a, problems) for a in self._plan.arms if a.policy]
      for learner in c.learners:
        # Samples, grades and the base model's evaluation are of the question set; seeds share them.
        for source, r in ((BASE, 0), *((a, r) for a in self._plan.arms for r in range(c.train.seeds))):
          name = source if source == BASE else budget.run_name(source.name, r)
          needs = (problems,)
          if source != BASE:
            train = f'train/set{s}/{learner}/{name}'
            after = (problems, *self._data(s, source))
            steps = steps_of(c, learner, source.budget or source.name) * len(c.train.learning_rates)
            jobs.append(Job(train, 'train', after, steps, functools.partial(_fine_tune, do, s, learner, source, r)))
            needs = (problems, train)
          evaluate = f'evaluate/set{s}/{learner}/{name}'
          count = c.task.test * (1 + max(c.evaluate.maj_k, default=0))
          jobs.append(Job(evaluate, 'evaluate', needs, count, functools.partial(_call, do.evaluate, s, learner, name)))
          evaluated.append(evaluate)
          for test in self._transfer:
            again, ask = f'transfer/{test.name}/set{s}/{learner}/{name}', functools.partial(_call, test.evaluate, s)
            jobs.append(Job(again, 'evaluate', needs, test.count, functools.partial(ask, learner, name)))
            evaluated.append(again)
    graded = [j.name for j in jobs if j.stage == 'grade']
    jobs.append(Job('report', 'report', ('plan', *graded, *evaluated), 1, self._write_report))
    return jobs

  def _allocation(self, question_set: int, arm: budget.Arm, problems: str) -> Job:
    """The job of an arm with a policy: after the samples it may use, and the arm whose spending it equals."""
    policy = self._plan.policies.get(arm.policy) or budget.Uniform((arm.generator,))
    ((anchor, amount),) = self._plan.budgets[arm.budget].items()
    whole = {g: n for g in policy.generators if (n := self._plan.whole(g))}
    needs = set(whole)
    if arm.samples is not None:
      amount = self._plan.samples[arm.name][arm.generator]
    elif anchor in self._config.generators:
      amount = f'grades/set{question_set}/{anchor}/{anchor}_{arm.budget}.charge.json'
      needs.add(anchor)
    after = tuple(f'{kind}/set{question_set}/{g}' for g in sorted(needs) for kind in ('samples', 'grades'))

    def run(folder: epath.Path, meter: Meter) -> None:
      allocation.run(folder, self._bodies, question_set, arm, policy, amount, whole, meter)

    return Job(f'policies/set{question_set}/{arm.name}', 'grade', (problems, *after), 1, run)

  def _data(self, question_set: int, arm: budget.Arm) -> tuple[str, ...]:
    """The job that writes an arm's examples."""
    return (examples.job_of(self._config, question_set, arm),) if arm.budget else ()

  def _write_problems(self, folder: epath.Path, question_set: int) -> None:
    for job in (self._bodies, *self._transfer):
      job.write_problems(folder, question_set)
    fine_tuning.check_rows(self._bodies, question_set)

  def _run_stage(self, stage: str, jobs: Sequence[Job], console: Console) -> None:
    """Runs the jobs of a stage that are not done, some side by side."""
    prints = self._fingerprints()
    todo = [j for j in jobs if not self._workdir.done(j.name, prints[j.name])]
    names = {j.name for j in todo}
    for job in todo:
      if missing := [n for n in job.after if n not in names and not self._workdir.done(n, prints[n])]:
        if stage == 'report':
          return  # `_report` writes of what there is, and this job is not done by that.
        needed = next(j.stage for j in self._jobs if j.name == missing[0])
        raise ValueError(f'job {job.name} needs {missing[0]}, which is not done; add {needed!r} to --stages')
    if not todo:
      logging.info('%s: nothing to do, %d jobs are done', stage, len(jobs))
      return
    logging.info('%s: %d jobs to do, %d done before', stage, len(todo), len(jobs) - len(todo))
    items = sum(j.items for j in todo)
    if stage in ('sample', 'evaluate'):
      items = round(items * self._hosts.together / self._hosts.count)  # About as many are this process's.
    with progress.meter(stage, items, console) as meter:

      def run(job: Job) -> None:
        begun, folder = time.time(), self._workdir.folder(job.name)
        if self._hosts.leads:
          self._workdir.begin(job.name, prints[job.name])
        self._hosts.barrier(f'begin {job.name}')
        if self._hosts.leads or stage in _DIVIDED:
          job.run(folder, meter)
        self._hosts.barrier(f'end {job.name}')
        if self._hosts.leads:
          self._workdir.finish(job.name, prints[job.name], begun)

      while todo:
        left = {j.name for j in todo}
        ready = [j for j in todo if not left & set(j.after)]
        self._side_by_side(run, ready)
        todo = [j for j in todo if j not in ready]

  def _side_by_side(self, run: Callable[[Job], None], jobs: Sequence[Job]) -> None:
    """Runs jobs in threads. The first error stops the others at their next step and is raised."""
    # Several processes must meet in the same order.
    at_once = self._config.engine.jobs if self._hosts.count == 1 else 1

    def unless_stopped(job: Job) -> None:
      self._bodies.drawing.check()
      try:
        run(job)
      except BaseException:
        self._hosts.stop.set()  # Here, before this thread takes up the next job.
        raise

    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
      futures = [pool.submit(unless_stopped, job) for job in jobs]
      try:
        for future in concurrent.futures.as_completed(futures):
          future.result()
      except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
          self._hosts.ask_to_stop()
          self._hosts.stop.set()
        pool.shutdown(cancel_futures=True)
        for future in futures:
          if not future.cancelled() and (e := future.exception()) and not isinstance(e, Interrupted):
            raise e from None
        raise

  def _fingerprints(self) -> dict[str, str]:
    """Of each job: what its result depends on, the version, config and models, and its inputs."""
    config = {k: v for k, v in self._config.to_dict().items() if k not in FREE}
    basis = fingerprint([sweb_jax.__version__, config, self._bodies.drawing.identities])
    prints: dict[str, str] = {}
    for job in self._jobs:
      prints[job.name] = fingerprint([basis, job.name, [prints[n] for n in job.after]])
    return prints

  def _write_report(self, folder: epath.Path, meter: Meter) -> None:
    del folder, meter  # The report reads the whole workdir and knows its own folder.
    self._written = analysis.write(self._workdir.path, self._bodies.task.prompt)

  def _report(self, console: Console) -> None:
    # Anew where the job had nothing to do, or waits for others: what there is may have changed.
    built = self._written or analysis.write(self._workdir.path, self._bodies.task.prompt)
    analysis.show(built, console, analysis.read_missing(self._workdir.path))
    console.print(f'Report: {self._workdir.path / "report/index.html"}')


def _call(body: Callable[..., None], *args: Any) -> None:
  """A job body that takes (folder, ..., meter) as a `Job.run` of (folder, meter)."""
  *fixed, folder, meter = args
  body(folder, *fixed, meter)


def _fine_tune(
  jobs: Jobs, question_set: int, learner: str, arm: budget.Arm, repeat: int, folder: epath.Path, meter: Meter
) -> None:
  fine_tuning.run(folder, jobs, question_set, learner, arm, meter, repeat)


def _call_plain(body: Callable[..., None], *args: Any) -> None:
  """The same for a body without a meter."""
  *fixed, folder, meter = args
  body(folder, *fixed)
  meter.add()
