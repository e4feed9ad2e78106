"""Gemma models: shapes, forward pass, tokenizers, checkpoints, sharding."""
