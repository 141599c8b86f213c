"""One function for every file format."""

import pathlib
import shutil
import tempfile

import keras

from mm_keras._checks import check_choice
from mm_keras.models import inference_model

FORMATS = ("keras", "saved_model")


def export(
    model: keras.Model, path: str | pathlib.Path, format: str = "saved_model"
) -> pathlib.Path:
    """Writes the graph that ships, without training-only branches, to a file or folder.

    Args:
        model: A functional `keras.Model`.
        path: Where to: a file ending in `.keras`, or a folder for a SavedModel. What stands there
            is replaced only when the new one has been written whole.
        format: `"keras"` (to go on with in Keras; needs `import mm_keras` to load) or
            `"saved_model"` (to serve; needs TensorFlow only). A SavedModel's endpoint `serve` takes
            a dict by modality names.

    Returns:
        The path that was written.

    Raises:
        ValueError: For an unknown format, or a path with the wrong ending.

    Example:

    >>> import tempfile
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4), "b": mm.Features(3)}, 2)
    >>> mm.export(model, tempfile.mkdtemp() + "/model.keras", format="keras").name
    'model.keras'
    """
    check_choice("format", format, FORMATS)
    path = pathlib.Path(path)
    if (path.suffix == ".keras") != (format == "keras"):
        expected = "end in '.keras'" if format == "keras" else "be a folder, without '.keras',"
        raise ValueError(f"`path` must {expected} for format={format!r}. Received: path={path}.")
    shipped = inference_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as folder:
        written = pathlib.Path(folder) / path.name
        if format == "keras":
            shipped.save(written)
        else:
            shipped.export(written, format="tf_saved_model", verbose=False)
        if path.is_dir():
            shutil.rmtree(path)
        written.replace(path)
    return path
