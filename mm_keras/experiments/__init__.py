"""What the command runs: a described experiment, and the demo."""

from mm_keras.experiments.compared import Compared, ComparedRow
from mm_keras.experiments.comparison import Comparison, compare, read_comparison
from mm_keras.experiments.config import Experiment, read_config
from mm_keras.experiments.demo import run_demo
from mm_keras.experiments.inspect_data import inspect_data
from mm_keras.experiments.inspection import Inspection
from mm_keras.experiments.outcome import Outcome
from mm_keras.experiments.outcome_table import outcome_table
from mm_keras.experiments.run import run_experiment

__all__ = [
    "Compared",
    "ComparedRow",
    "Comparison",
    "Experiment",
    "Inspection",
    "Outcome",
    "compare",
    "inspect_data",
    "outcome_table",
    "read_comparison",
    "read_config",
    "run_demo",
    "run_experiment",
]
