"""What results depend on."""

import importlib.metadata
import platform

import keras
import numpy as np

import mm_keras


def versions() -> dict[str, str]:
    """Returns the versions that decide about results."""
    return {
        "mm_keras": mm_keras.__version__,
        "keras": keras.__version__,
        "tensorflow": importlib.metadata.version("tensorflow"),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "backend": keras.config.backend(),
    }
