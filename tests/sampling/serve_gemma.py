"""Serves Gemma 3 270M by llama.cpp's own server until its standard input ends; prints where."""

from __future__ import annotations

import sys

import xllamacpp

from sweb_jax.models.gemma import gguf_reader

if __name__ == '__main__':
  params = xllamacpp.CommonParams()
  params.model.path = str(gguf_reader.find_gemma3_270m())
  params.n_ctx, params.n_parallel, params.hostnames, params.port = 4096, 2, ['127.0.0.1'], 0
  params.cpuparams.n_threads = 2
  server = xllamacpp.Server(params)
  print(server.listening_address, flush=True)
  sys.stdin.read()
