"""mm_keras: multimodal networks for Keras 3.

```python
import mm_keras as mm

model = mm.build_mcnn({"image": mm.Image((96, 96, 3)), "audio": mm.Audio(16000, 16000)}, 10)
model.compile("adam", mm.losses.classification(), metrics=["accuracy"])
```

Specs, layers and losses are imported, and so registered with Keras, at once, so that
`keras.models.load_model` finds them; the rest is imported on first use.
"""

import importlib

from mm_keras import layers, losses
from mm_keras.modalities import Audio, Features, Image, Modality, Tabular, Text, Video, Views

__version__ = "0.1.0"

_HOMES = {
    "mm_keras.models": [
        "BUILDERS",
        "Classification",
        "Head",
        "MultiLabel",
        "Regression",
        "build_cmn",
        "RoutedPredictor",
        "build_adda",
        "build_afe",
        "build_dfn",
        "build_dml",
        "build_mcnn",
        "build_mvcnn",
        "build_nasn",
        "inference_model",
        "modalities_of",
        "transfer_weights",
        "with_views",
    ],
    "mm_keras.exporting": ["export", "load"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_SUBMODULES = [
    "compress",
    "data",
    "datasets",
    "distribute",
    "encoders",
    "evaluate",
    "experiments",
    "exporting",
    "models",
    "plots",
    "testing",
    "training",
]

__all__ = [
    "Audio",
    "Features",
    "Image",
    "Modality",
    "Tabular",
    "Text",
    "Video",
    "Views",
    "layers",
    "losses",
    *_SUBMODULES,
    *_HOME_OF,
]


def __getattr__(name: str):
    if name in _HOME_OF:
        value = getattr(importlib.import_module(_HOME_OF[name]), name)
    elif name in _SUBMODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
