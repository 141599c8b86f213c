"""The figures of outcomes in a file."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import keras

from mm_keras.experiments.outcome import Outcome
from mm_keras.experiments.versions import versions


def write_metrics(outcomes: Sequence[Outcome], path: str | pathlib.Path, **more: Any) -> None:
    """Writes the figures of all models, and what they were measured with, to a JSON file."""
    report = {
        "models": [outcome.report() for outcome in outcomes],
        "versions": versions(),
        "devices": keras.distribution.list_devices(),
        **more,
    }
    pathlib.Path(path).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
