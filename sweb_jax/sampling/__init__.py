"""Drawing completions: the engine (token ids only), the sampling rule, the chunked store."""

from sweb_jax.sampling import stops
from sweb_jax.sampling.engine import Engine
from sweb_jax.sampling.request import Completion, Request, SamplingError
from sweb_jax.sampling.rule import Rule
from sweb_jax.sampling.store import Store

__all__ = ['Completion', 'Engine', 'Request', 'Rule', 'SamplingError', 'Store', 'stops']
