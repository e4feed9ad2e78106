"""Compute-optimal synthetic data for reasoning, in JAX.

Start at `sweb_jax.main`, the command, and `sweb_jax.study`, the experiment as an ordered list of jobs.
Importing this package imports neither JAX nor TensorFlow nor gemma.
"""

__version__ = '0.1.0'
