"""What an earlier run has left in a folder: nothing of other weights may lie beside a new model."""

import pathlib
import shutil

from mm_keras.exporting.export_file import MODEL

# What `mm-keras train`, `export` and `compress` write of a model; folders by a file in them.
OF_A_MODEL = (
    "saved_model/saved_model.pb",
    "model.tflite",
    "model.onnx",
    "compressed/report.json",
    "confusion_matrix*.png",
    "learning_curve_*.png",
    "bad_records.csv",
)
EXPORTS = (".keras", ".tflite", ".onnx")


def check_no_earlier_run(folder: pathlib.Path) -> None:
    """Raises if a folder holds a finished run."""
    if (folder / MODEL).exists():
        raise ValueError(
            "`output` must be a new folder; or --overwrite must be given, which replaces the "
            f"model, and deletes what was exported and compressed from it. Received: {folder}, "
            "which holds a finished run."
        )


def delete_earlier_run(folder: pathlib.Path) -> list[str]:
    """Deletes what was made of an earlier model, but the model itself; returns what it was."""
    found = [
        path.parent if "/" in name else path for name in OF_A_MODEL for path in folder.glob(name)
    ]
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return sorted(path.name for path in found)


def other_exports(folder: pathlib.Path) -> list[str]:
    """Returns the models in a folder whose names are not those of a run."""
    return sorted(p.name for p in folder.iterdir() if p.suffix in EXPORTS and p.name != MODEL)
