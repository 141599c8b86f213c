"""What a run keeps while it trains, so that it can go on after an interruption."""

import pathlib
import shutil

from mm_keras._files import check_writable
from mm_keras.experiments.config import Experiment, read_yaml
from mm_keras.experiments.earlier_run import check_no_earlier_run
from mm_keras.exporting.export import SAVED_MODEL
from mm_keras.training import Checkpoints

CONFIG = "config.yaml"
MAY_CHANGE = (("fit", "epochs"), ("output",))


def run_checkpoints(
    folder: pathlib.Path,
    config: pathlib.Path,
    experiment: Experiment,
    resume: bool = False,
    overwrite: bool = False,
) -> Checkpoints:
    """Returns the checkpoints of a run, in its folder, with a copy of its file.

    Args:
        folder: Of the run.
        config: The YAML file that describes it.
        experiment: What the file says.
        resume: Whether the run is to go on.
        overwrite: Whether a finished run in the folder may be replaced.

    Raises:
        ValueError: If the folder holds a finished run that may not be replaced, if there are
            checkpoints and the run is not to go on, or if it is to go on with another file. Epochs
            and output may differ.
    """
    checkpoints = Checkpoints(folder / "checkpoints", every=experiment.checkpoint_steps)
    begun = checkpoints.folder / CONFIG
    if not checkpoints.paths:
        if not overwrite:
            check_no_earlier_run(folder)
        check_writable(folder / "saved_model", SAVED_MODEL)
        checkpoints.folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(config, begun)
    elif not resume:
        raise ValueError(
            f"`--resume` must be given to go on with the interrupted run in {folder}, of which "
            f"{checkpoints.paths[-1].name} is left; or delete {checkpoints.folder} to begin anew."
        )
    elif begun.exists() and _essence(begun) != _essence(config):
        raise ValueError(
            f"`--resume` must have the file that the run began with, {begun}: only the epochs and "
            f"the output may differ. Received: {config}."
        )
    return checkpoints


def _essence(path: pathlib.Path) -> dict:
    config = read_yaml(path, dict)
    for *parents, key in MAY_CHANGE:
        part = config
        for parent in parents:
            part = part.get(parent, {})
        part.pop(key, None)
    return config
