"""From the text of a completion to its final answer, and from two answers to right or wrong.

Nothing here evaluates text, with one exception: `sandbox` runs generated programs, in processes that can reach nothing.
"""

from sweb_jax.answers.equal import MAX_LENGTH, normal_number, same_number
from sweb_jax.answers.extract import answer_line

__all__ = ['MAX_LENGTH', 'answer_line', 'normal_number', 'same_number']
