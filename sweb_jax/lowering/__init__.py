"""The steps of a study compiled for machines that are not at hand: memory, messages, FLOPs."""
