"""Evaluation of multimodal models: what each modality is worth, and what probabilities mean."""

from mm_keras.evaluate.ablation import AblationRow, presence_ablation
from mm_keras.evaluate.attention_maps import attention_maps
from mm_keras.evaluate.attention_reader import AttentionMap
from mm_keras.evaluate.calibrate import calibrate
from mm_keras.evaluate.calibration import Reliability, calibration_metrics, reliability
from mm_keras.evaluate.conformal import ConformalSets
from mm_keras.evaluate.corruptions import CORRUPTIONS
from mm_keras.evaluate.grad_cam import GradCam, grad_cam
from mm_keras.evaluate.integrated_gradients import Attributions, integrated_gradients
from mm_keras.evaluate.interval import mean_interval, paired_test
from mm_keras.evaluate.modality_gates import Gates, modality_gates
from mm_keras.evaluate.retrieval import retrieval_metrics
from mm_keras.evaluate.robustness import (
    RobustnessCurve,
    effective_robustness,
    relative_robustness,
    robustness_curves,
)
from mm_keras.evaluate.shapley import Contributions, shapley_values

__all__ = [
    "CORRUPTIONS",
    "AblationRow",
    "AttentionMap",
    "Attributions",
    "ConformalSets",
    "Contributions",
    "Gates",
    "GradCam",
    "Reliability",
    "RobustnessCurve",
    "attention_maps",
    "calibrate",
    "calibration_metrics",
    "effective_robustness",
    "grad_cam",
    "integrated_gradients",
    "mean_interval",
    "modality_gates",
    "paired_test",
    "presence_ablation",
    "relative_robustness",
    "reliability",
    "retrieval_metrics",
    "robustness_curves",
    "shapley_values",
]
