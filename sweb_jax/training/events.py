"""Metrics as an event file of TensorBoard, without TensorFlow."""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Iterable, Mapping
from typing import Any


def dumps(metrics: Iterable[Mapping[str, float]], scores: Iterable[Any]) -> bytes:
  """The bytes of an event file: each metric of each step as `train/NAME`, each score as `validation/NAME`.

  Args:
    metrics: rows with a `step` and numbers.
    scores: dataclasses with a `step` and numbers.
  """
  from tensorboard.compat.proto import event_pb2, summary_pb2
  from tensorboard.summary.writer.record_writer import RecordWriter

  out = io.BytesIO()
  writer, now = RecordWriter(out), time.time()
  writer.write(event_pb2.Event(wall_time=now, file_version='brain.Event:2').SerializeToString())
  rows = [('train', m) for m in metrics] + [('validation', dataclasses.asdict(s)) for s in scores]
  for prefix, row in rows:
    values = [
      summary_pb2.Summary.Value(tag=f'{prefix}/{k}', simple_value=v) for k, v in row.items() if k != 'step'
    ]
    event = event_pb2.Event(wall_time=now, step=row['step'], summary=summary_pb2.Summary(value=values))
    writer.write(event.SerializeToString())
  return out.getvalue()
