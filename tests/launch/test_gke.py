"""The JobSet of a study, against the part of the API's schema that it uses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from launch.gke import jobset

ROOT = Path(__file__).parents[2]
GKE = dict(gke__cluster='my-cluster', gke__image='us-docker.pkg.dev/my-project/study/sweb_jax:1')


def strict(properties: dict, required: tuple[str, ...] = ()) -> dict:
  return {'type': 'object', 'properties': properties, 'required': list(required), 'additionalProperties': False}


# Written after JobSet's API v1alpha2 and Kubernetes' batch/v1 and core/v1; kubectl refuses unknown fields as this does.
_NAME = {'type': 'string', 'pattern': '^[a-z]([-a-z0-9]*[a-z0-9])?$', 'maxLength': 63}
_COUNT = {'type': 'integer', 'minimum': 1}
_LABELS = {'type': 'object', 'additionalProperties': {'type': 'string'}}
_CHIPS = strict({'google.com/tpu': {'enum': [1, 4, 8]}}, ('google.com/tpu',))
_CONTAINER = strict(
  {
    'name': _NAME,
    'image': {'type': 'string', 'minLength': 1},
    'command': {'type': 'array', 'items': {'type': 'string'}},
    'args': {'type': 'array', 'items': {'type': 'string'}},
    'ports': {'type': 'array', 'items': strict({'containerPort': {'type': 'integer', 'maximum': 65535}})},
    'resources': strict({'requests': _CHIPS, 'limits': _CHIPS}, ('limits',)),
  },
  ('name', 'image'),
)
_TOLERATION = strict(
  {
    'key': {'type': 'string'},
    'operator': {'enum': ['Equal', 'Exists']},
    'value': {'type': 'string'},
    'effect': {'enum': ['NoSchedule', 'PreferNoSchedule', 'NoExecute']},
  }
)
_POD = strict(
  {
    'restartPolicy': {'enum': ['Never', 'OnFailure']},
    'terminationGracePeriodSeconds': {'type': 'integer', 'minimum': 0},
    'serviceAccountName': _NAME,
    'nodeSelector': _LABELS,
    'tolerations': {'type': 'array', 'items': _TOLERATION},
    'containers': {'type': 'array', 'items': _CONTAINER, 'minItems': 1},
  },
  ('containers', 'restartPolicy'),
)
_JOB = strict(
  {
    'parallelism': _COUNT,
    'completions': _COUNT,
    'completionMode': {'enum': ['Indexed', 'NonIndexed']},
    'backoffLimit': {'type': 'integer', 'minimum': 0},
    'template': strict({'spec': _POD}, ('spec',)),
  },
  ('template',),
)
_REPLICATED = strict(
  {'name': _NAME, 'replicas': _COUNT, 'template': strict({'spec': _JOB}, ('spec',))}, ('name', 'template')
)
_SCHEMA = strict(
  {
    'apiVersion': {'const': 'jobset.x-k8s.io/v1alpha2'},
    'kind': {'const': 'JobSet'},
    'metadata': strict({'name': _NAME, 'annotations': _LABELS, 'labels': _LABELS}, ('name',)),
    'spec': strict(
      {
        'failurePolicy': strict({'maxRestarts': {'type': 'integer', 'minimum': 0}}),
        'replicatedJobs': {'type': 'array', 'items': _REPLICATED, 'minItems': 1},
      },
      ('replicatedJobs',),
    ),
  },
  ('apiVersion', 'kind', 'metadata', 'spec'),
)


@pytest.mark.parametrize('name', ['v5e_8', 'v5e_64', 'v5p_32', 'v6e_64', 'v5e_2x16'])
def test_the_jobset_keeps_the_schema_and_asks_for_the_whole_pod(load, name):
  pod = load(name, service_account='runner@my-project.iam.gserviceaccount.com', **GKE)
  rendered = yaml.safe_load(yaml.safe_dump(jobset.jobset(pod)))
  jsonschema.validate(rendered, _SCHEMA)
  (slices,) = rendered['spec']['replicatedJobs']
  job = slices['template']['spec']
  machine = job['template']['spec']
  chips = machine['containers'][0]['resources']['limits']['google.com/tpu']
  assert job['completions'] == job['parallelism']
  assert slices['replicas'] * job['completions'] * chips == pod.slice.chips * pod.slices
  sides = machine['nodeSelector']['cloud.google.com/gke-tpu-topology'].split('x')
  product = 1
  for side in sides:
    product *= int(side)
  assert product == pod.slice.chips
  assert ('cloud.google.com/gke-spot' in machine['nodeSelector']) == pod.spot
  assert tuple(machine['containers'][0]['args']) == pod.study


def expanded(text: str, environment: dict[str, str]) -> str:
  """What Kubernetes makes of an argument: $(NAME) is a variable, $$ is $ (its API reference, Container.args)."""
  value = lambda m: '$' if m[0] == '$$' else environment.get(m[1], m[0])  # noqa: E731
  return re.sub(r'\$\$|\$\((\w+)\)', value, text)


def test_flags_reach_a_container_as_they_are(load):
  flags = ('--config.a=$(HOME)', '--config.b=$$(HOME) $5 $', '--config.c=$$$')
  args = jobset.jobset(load('v5e_64', study__flags=flags, **GKE))['spec']['replicatedJobs'][0]['template']['spec'][
    'template'
  ]['spec']['containers'][0]['args']
  assert tuple(expanded(a, {'HOME': 'secret'}) for a in args)[2:] == flags


def test_a_jobset_is_printed_for_kubectl_and_refused_without_an_image():
  command = [sys.executable, '-m', 'launch.tpu', '--config=launch/configs/v5e_8.py', '--action=jobset']
  command += ['--config.project=my-project', '--config.workdir=gs://my-bucket/runs/one']
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  assert (done.returncode, done.stdout) == (1, '')
  assert 'config.gke.image' in done.stderr
  done = subprocess.run([*command, '--config.gke.image=x/y:1'], cwd=ROOT, capture_output=True, text=True, check=False)
  jsonschema.validate(yaml.safe_load(done.stdout), _SCHEMA)
