"""A study as a graph of steps: what there is to do, what of it is done, and how it is done."""
