"""One function for every file format."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import keras

from mm_keras._checks import check_bool, check_choice
from mm_keras._files import check_writable, written_whole
from mm_keras._graphs import all_layers
from mm_keras.data.decode.common import extra
from mm_keras.exporting.card import Classes, embed_card, make_card
from mm_keras.exporting.parity import check_parity, foreign_modules, reduced_precision
from mm_keras.exporting.serving import Serving
from mm_keras.exporting.writers import FORMATS
from mm_keras.models import inference_model

SAVED_MODEL = "saved_model.pb"


def export(
    model: keras.Model,
    path: str | os.PathLike,
    format: str = "saved_model",
    *,
    preprocessing: bool | str = False,
    check: bool = True,
    classes: Classes | None = None,
    metrics: Mapping[str, float] | None = None,
    training_data: Any = None,
) -> pathlib.Path:
    """Writes the graph that ships, without training-only branches, to a file or folder.

    | format | path | what loads it | raw inputs with `preprocessing` |
    |---|---|---|---|
    | `"keras"` | `….keras` | Keras, after `import mm_keras` | none |
    | `"saved_model"` | a folder | TensorFlow, TensorFlow Serving | pictures, waveforms, texts |
    | `"litert"` | `….tflite` | LiteRT, on phones too | pictures, waveforms |
    | `"onnx"` | `….onnx` | ONNX runtimes; needs `mm_keras[onnx]` | pictures, waveforms |

    Inputs and outputs have the names that they have in the model, presence inputs included; a
    SavedModel has the signature `serving_default`, which TensorFlow Serving asks for, and the
    endpoint `serve`. `mm.load` brings any of them back.

    The written file is loaded in a fresh process, and must give there what the model gives on
    random samples with every pattern of missing modalities; only then does it take the place of
    what stood at `path`, in one step. So an export that fails or is killed leaves the old file
    whole.

    Args:
        model: A functional `keras.Model`.
        path: Where to. A folder is replaced only if it is empty or has an earlier SavedModel in it.
        format: One of the table.
        preprocessing: Whether the file takes raw inputs: pictures as uint8 of any size (all of a
            batch of one size), which are stretched to the spec's with `True`, and fitted with
            `"pad"` or `"crop"` (SavedModel only) as `mm.data` does it; waveforms of any length,
            cut after the spec's samples or followed by silence; texts as strings `(B,)`, if the
            spec has a vocabulary (SavedModel only). Other inputs stay as they are.
        check: Whether the file is compared with the model. A process that imports TensorFlow takes
            seconds, one for LiteRT or ONNX less than one.
        classes: Names of the classes for the card: a sequence, or `{output: names}`.
        metrics: `{name: number}` for the card, as `model.evaluate(…, return_dict=True)` gives them.
        training_data: For the card: what it was trained on, as text or whatever JSON can hold.

    Returns:
        The path that was written. `mm.exporting.read_card(path)` gives its card: modalities with
        shapes, units and vocabularies, outputs, classes, metrics, training data, versions. The card
        is in the file itself, and goes wherever that goes.

    Raises:
        TypeError: If `model` is no functional model, or an argument for the card has the wrong
            type.
        ValueError: For an unknown format, a path with the wrong ending, or a Lambda layer in a
            `.keras` file.
        OSError: If `path` can't be written.
        ImportError: If the extra `onnx` is asked for and not installed.
        mm_keras.exporting.UnsupportedError: If the format lacks an operation; it names operation
            and layer. LiteRT has no loops over batches (`chunk` of `NonLocalBlock`), LiteRT and
            ONNX no `keras.ops.argmax`.
        mm_keras.exporting.ParityError: If the file gives something else than the model.

    Example:

    >>> import tempfile
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4), "b": mm.Features(3)}, 2)
    >>> path = tempfile.mkdtemp() + "/model.tflite"
    >>> path = mm.export(model, path, format="litert", classes=["cat", "dog"])
    >>> mm.load(path).card["classes"]
    {'label': ['cat', 'dog']}
    """
    check_choice("format", format, FORMATS)
    chosen = FORMATS[format]
    check_choice(f"preprocessing, for format={format!r},", preprocessing, chosen.preprocessing)
    check_bool("check", check)
    path = pathlib.Path(path)
    if path.suffix != chosen.suffix and (chosen.suffix or path.suffix in _suffixes()):
        expected = f"end in {chosen.suffix!r}" if chosen.suffix else "be a folder"
        raise ValueError(f"`path` must {expected} for format={format!r}. Received: path={path}.")
    earlier = None if chosen.suffix else SAVED_MODEL
    check_writable(path, earlier)
    shipped = inference_model(model)
    _check_format(shipped, format, check)
    serving = Serving(shipped, preprocessing, chosen.strings)
    card = make_card(serving, format, preprocessing, classes, metrics, training_data)
    with written_whole(path, earlier) as unfinished:
        chosen.write(serving, unfinished)
        embed_card(unfinished, format, card)
        if check:
            check_parity(serving, unfinished, format, chosen.tolerance)
    return path


def _suffixes() -> list[str]:
    return [chosen.suffix for chosen in FORMATS.values() if chosen.suffix]


def _check_format(model: keras.Model, format: str, check: bool) -> None:
    """Raises where a format can't hold the model or isn't installed, before anything is written."""
    if format == "keras":
        code = [
            layer.name
            for layer in all_layers(model)
            if type(layer).__name__ == "Lambda" and type(layer).__module__.startswith("keras.")
        ]
        if code:
            raise ValueError(
                "`model` must have no Lambda layers for format='keras': Keras' safe mode refuses "
                f"to load them. Register a layer of your own. Received: Lambda layers {code}."
            )
        unreachable = foreign_modules(model).get("__main__")
        if check and unreachable:
            raise ValueError(
                "`check` must be False for format='keras' with layers that are defined in "
                "`__main__`, which no other process can load: define them in a module. "
                f"Received: check=True, layers {unreachable}."
            )
        return
    if keras.config.backend() != "tensorflow":
        raise ValueError(
            f"`format` must be 'keras' with KERAS_BACKEND={keras.config.backend()!r}: save that, "
            f"load it with KERAS_BACKEND='tensorflow', export. Received: format={format!r}."
        )
    reduced = reduced_precision(model) if format != "saved_model" else []
    if reduced:
        raise ValueError(
            f"`model` must compute in float32 for format={format!r}: build it again with the dtype "
            "policy 'float32' and give it these weights. "
            f"Received: half precision in the layers {reduced}."
        )
    if format == "onnx":
        for library in ("onnx", "onnxruntime", "tf2onnx"):
            extra(library, "onnx")
