"""Reads back what `mm-keras train` wrote."""

import pathlib

import keras

from mm_keras.experiments.config import Experiment, read_config
from mm_keras.experiments.earlier_run import MODEL
from mm_keras.experiments.interruption import CONFIG
from mm_keras.exporting import load, read_card
from mm_keras.models import modalities_of


def read_trained(
    path: str | pathlib.Path, config: str | pathlib.Path | None = None
) -> tuple[keras.Model, Experiment]:
    """Reads a trained model and what it was trained on.

    Args:
        path: The folder that `mm-keras train` wrote, or a `.keras` file.
        config: YAML file with the dataset; `None`: the one in the folder.

    Raises:
        OSError: If there is no such folder or file.
        ValueError: If a `.keras` file comes without a config, or a file does not fit.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        config, path = config or path / CONFIG, path / MODEL
    if not path.is_file():
        raise FileNotFoundError(
            "`path` must be a folder that `mm-keras train` wrote, with config.yaml and "
            f"model.keras, or a .keras file. Received: {path}, which does not exist."
        )
    if path.suffix != ".keras":
        raise ValueError(f"`path` must be a folder or end in '.keras'. Received: {path}.")
    if config is None:
        raise ValueError(
            "`config` must be given for a .keras file: the YAML file that names its dataset "
            "(--config)."
        )
    experiment = read_config(config)
    model = load(path)
    wanted, found = sorted(experiment.modalities), sorted(modalities_of(model))
    if wanted != found:
        raise ValueError(
            f"`config` must be that of the model, with the modalities {found}. Received: {wanted}."
        )
    return model, experiment


def classes_of(path: str | pathlib.Path) -> dict[str, list[str]]:
    """Returns the names of classes, `{head: names}`, that the card of a trained model tells.

    Args:
        path: As in `read_trained`.
    """
    path = pathlib.Path(path)
    card = read_card(path / MODEL if path.is_dir() else path)
    return card["classes"] if card else {}
