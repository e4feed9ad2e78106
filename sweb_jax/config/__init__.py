"""The fields of an experiment: their defaults, and what values make sense."""

from sweb_jax.config.checks import validate
from sweb_jax.config.default import ConfigError, default, get, is_recorded, resolve, rules_of, steps_of

__all__ = ['ConfigError', 'default', 'get', 'is_recorded', 'resolve', 'rules_of', 'steps_of', 'validate']
