"""A study as a JobSet for Kubernetes, and as an XPK command.

The image is made by launch/gke/Dockerfile. A slice is a Job, a machine is a Pod; when one fails, JobSet starts all of
them again, and the study goes on from its workdir. Field names: JobSet's API v1alpha2 (jobset.sigs.k8s.io) and Google's
guide to TPU slices in GKE; flags of XPK: its parser at AI-Hypercomputer/xpk, commit 01b0557.
"""

from __future__ import annotations

import shlex
from typing import Any

from launch.chips import LaunchError
from launch.commands import Argv
from launch.pod import Pod

_GRACE_SECONDS = 120
"""From the notice to the end, to save in; Google gives a spot machine less (30 s) when it needs it at once."""


def jobset(pod: Pod) -> dict[str, Any]:
  """The JobSet of a pod's study, as the object that kubectl takes. Raises LaunchError where the image is not named."""
  _need_image(pod)
  slice_ = pod.slice
  accelerator, _ = slice_.generation.gke
  selector = {
    'cloud.google.com/gke-tpu-accelerator': accelerator,
    'cloud.google.com/gke-tpu-topology': slice_.topology,
  }
  if pod.spot:
    selector['cloud.google.com/gke-spot'] = 'true'
  chips = {'google.com/tpu': slice_.chips_per_host}
  machine = {
    'restartPolicy': 'Never',
    'terminationGracePeriodSeconds': _GRACE_SECONDS,
    'nodeSelector': selector,
    'containers': [
      {
        'name': 'study',
        'image': pod.image,
        'command': ['bash', '/sweb_jax/launch/worker.sh', 'main'],
        'args': [flag.replace('$', '$$') for flag in pod.study],  # Kubernetes reads $(NAME) in them, and $$ as $.
        'ports': [{'containerPort': 8471}, {'containerPort': 8080}],  # Libtpu's, and the coordinator's of slices.
        'resources': {'requests': chips, 'limits': dict(chips)},
      }
    ],
  }
  if pod.service_account:  # A Kubernetes account of this name, bound to Google's by Workload Identity.
    machine['serviceAccountName'] = pod.service_account.partition('@')[0]
  if pod.spot:
    machine['tolerations'] = [
      {'key': 'cloud.google.com/gke-spot', 'operator': 'Equal', 'value': 'true', 'effect': 'NoSchedule'}
    ]
  job = {
    'parallelism': slice_.hosts,
    'completions': slice_.hosts,
    'completionMode': 'Indexed',
    'backoffLimit': 0,  # One machine's failure is the slice's: JobSet starts all again.
    'template': {'spec': machine},
  }
  return {
    'apiVersion': 'jobset.x-k8s.io/v1alpha2',
    'kind': 'JobSet',
    'metadata': {
      'name': pod.name,
      # One slice a node pool, and nothing else on it.
      'annotations': {'alpha.jobset.sigs.k8s.io/exclusive-topology': 'cloud.google.com/gke-nodepool'},
    },
    'spec': {
      'failurePolicy': {'maxRestarts': pod.restarts},
      'replicatedJobs': [{'name': 'slice', 'replicas': pod.slices, 'template': {'spec': job}}],
    },
  }


def xpk(pod: Pod) -> Argv:
  """The XPK command that runs a pod's study on a cluster. Raises LaunchError where image or cluster are not named."""
  _need_image(pod)
  if not pod.cluster:
    raise LaunchError("config.gke.cluster='': give the name of the cluster")
  command = shlex.join(['bash', '/sweb_jax/launch/worker.sh', 'main', *pod.study])
  return [
    'xpk',
    'workload',
    'create',
    f'--workload={pod.name}',
    f'--cluster={pod.cluster}',
    f'--project={pod.project}',
    f'--zone={pod.zone}',
    f'--tpu-type={pod.slice.accelerator_type}',
    f'--num-slices={pod.slices}',
    f'--docker-image={pod.image}',
    f'--max-restarts={pod.restarts}',
    '--restart-on-user-code-failure',  # A preempted study ends with a code of its own.
    f'--termination-grace-period-seconds={_GRACE_SECONDS}',
    f'--command={command}',
  ]


def _need_image(pod: Pod) -> None:
  if not pod.image:
    raise LaunchError("config.gke.image='': give the image that launch/gke/Dockerfile made")
