"""Callbacks and choices of training."""

from mm_keras.training.checkpoints import Checkpoints, Position
from mm_keras.training.compilation import jit_compile
from mm_keras.training.freezing import freeze, unfreeze
from mm_keras.training.gradual_unfreezing import GradualUnfreezing
from mm_keras.training.grouped_optimizer import GroupedOptimizer
from mm_keras.training.hard_negative_warm_up import HardNegativeWarmUp
from mm_keras.training.layers_of import layers_of
from mm_keras.training.modality_rates import ModalityRates
from mm_keras.training.mutual_ramp_up import MutualRampUp
from mm_keras.training.progress import ProgressBar
from mm_keras.training.progress_decay import ProgressDecay
from mm_keras.training.reversal_schedule import ReversalSchedule
from mm_keras.training.select_epoch import (
    SelectEpoch,
    target_score,
)
from mm_keras.training.student_losses import student_losses
from mm_keras.training.temperature import TemperatureSchedule

__all__ = [
    "Checkpoints",
    "GradualUnfreezing",
    "GroupedOptimizer",
    "HardNegativeWarmUp",
    "ModalityRates",
    "MutualRampUp",
    "Position",
    "ProgressBar",
    "ProgressDecay",
    "ReversalSchedule",
    "SelectEpoch",
    "TemperatureSchedule",
    "freeze",
    "jit_compile",
    "layers_of",
    "student_losses",
    "target_score",
    "unfreeze",
]
