"""The fields of an experiment: their defaults, and what values make sense."""

from sweb_jax.config.checks import check_named, validate
from sweb_jax.config.default import (
  ENDPOINT,
  RECORDED,
  ConfigError,
  default,
  elsewhere,
  get,
  mesh_of,
  resolve,
  rules_of,
  samples_a_request,
  steps_of,
  transfer_task,
)

__all__ = [
  'ENDPOINT',
  'RECORDED',
  'ConfigError',
  'check_named',
  'default',
  'elsewhere',
  'get',
  'mesh_of',
  'resolve',
  'rules_of',
  'samples_a_request',
  'steps_of',
  'transfer_task',
  'validate',
]
