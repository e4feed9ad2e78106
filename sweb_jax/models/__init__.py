"""Models: the decoder protocol and its implementations, tokenizers, checkpoints, sharding."""
