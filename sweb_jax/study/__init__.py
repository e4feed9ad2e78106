"""A study as a graph of steps: what there is to do, what of it is done, and how it is done."""

STAGES = ('plan', 'sample', 'grade', 'train', 'evaluate', 'report')
"""What steps are asked for by, in the order in which they are run. Here, as flags need it before JAX is there."""
