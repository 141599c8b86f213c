"""What the command runs: a described experiment, and the demo."""

from mm_keras.experiments.compared import Compared, ComparedRow
from mm_keras.experiments.comparison import Comparison, compare, read_comparison
from mm_keras.experiments.config import Experiment, read_config
from mm_keras.experiments.demo import run_demo
from mm_keras.experiments.inspect_data import inspect_data
from mm_keras.experiments.inspection import Inspection
from mm_keras.experiments.outcome import Outcome
from mm_keras.experiments.outcome_table import outcome_table
from mm_keras.experiments.prediction import Predictions, predict_rows
from mm_keras.experiments.run import run_experiment
from mm_keras.experiments.trained import classes_of, read_trained

__all__ = [
    "Compared",
    "ComparedRow",
    "Comparison",
    "Experiment",
    "Inspection",
    "Outcome",
    "Predictions",
    "classes_of",
    "compare",
    "inspect_data",
    "outcome_table",
    "predict_rows",
    "read_comparison",
    "read_config",
    "read_trained",
    "run_demo",
    "run_experiment",
]
