"""Draws what is missing of a fixed set of samples into a store, as a study's sampling job does. Run, and killed, by a
test: `python draw_into_store.py FOLDER`."""

from __future__ import annotations

import sys

import jax
from etils import epath

from sweb_jax import tasks
from sweb_jax.models import sharding
from sweb_jax.models.source import open_model
from sweb_jax.records import Sample
from sweb_jax.runtime import devices
from sweb_jax.sampling import Engine, Request, Rule, Store, store
from sweb_jax.tasks.rendering import Renderer


def main(folder: epath.Path) -> None:
  devices.prepare(folder.parent)
  store._CHUNK_SAMPLES = 16
  samples = Store(folder)
  have = samples.by_problem()
  print('read', flush=True)
  model, task = open_model('embedded:wc'), tasks.get('arithmetic')
  renderer = Renderer(model.tokenizer)
  problems = task.problems('train', 60, 0)
  wanted = [Request(p.id, i, renderer.prompt(task.prompt(p))) for p in problems for i in range(12)]
  mesh = sharding.make_mesh()
  engine = Engine(
    model.config, mesh, Rule(0.7, forbidden=(0, 2)), stop_ids=(1,), prompt_length=48, max_new_tokens=48, slots=16,
    steps=4,
  )
  requests = [r for r in wanted if r.index not in have.indices(r.problem_id)]
  for c in engine.run(model.load(mesh), requests, key=jax.random.key(3)):
    samples.add(Sample(c.problem_id, c.index, renderer.text(c.tokens), c.tokens, c.finish, round(c.logprob, 4)))
  samples.flush()


if __name__ == '__main__':
  main(epath.Path(sys.argv[1]))
