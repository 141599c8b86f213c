"""Layers: what enters, masks, pooling, attention, fusion. All are registered with Keras."""

from mm_keras.layers.adversarial_alignment import AdversarialAlignment
from mm_keras.layers.apply_gates import ApplyGates
from mm_keras.layers.attention_bottleneck import AttentionBottleneck
from mm_keras.layers.column_embedding import ColumnEmbedding
from mm_keras.layers.conditional_features import ConditionalFeatures
from mm_keras.layers.contrastive_learning import ContrastiveLearning
from mm_keras.layers.cross_attention import CrossAttention
from mm_keras.layers.cross_modal_non_local import CrossModalNonLocal
from mm_keras.layers.domain_weighting import DomainWeighting
from mm_keras.layers.energy_weighting import EnergyWeighting
from mm_keras.layers.ensemble import Ensemble
from mm_keras.layers.fold import (
    FoldBatch,
    UnfoldBatch,
)
from mm_keras.layers.fusion import (
    FUSIONS,
    ConcatFusion,
    CrossAttentionFusion,
    ElementwiseFusion,
    Fusion,
    GatedFusion,
    JointFusion,
    LowRankFusion,
    TensorFusion,
    get_fusion,
)
from mm_keras.layers.gate_cost import GateCost
from mm_keras.layers.gradient_modulation import GradientModulation
from mm_keras.layers.gradient_reversal import GradientReversal
from mm_keras.layers.hard_negatives import HardNegatives
from mm_keras.layers.hashed_wide import HashedWide
from mm_keras.layers.load_balance import LoadBalance
from mm_keras.layers.log_mel_spectrogram import LogMelSpectrogram
from mm_keras.layers.masks import (
    AllPresent,
    AlwaysPresent,
    AnyPresent,
    PaddingMask,
    RepeatMask,
    ViewMask,
    ZeroMasked,
)
from mm_keras.layers.match_loss import MatchLoss
from mm_keras.layers.mmtm import MMTM
from mm_keras.layers.modality_dropout import ModalityDropout
from mm_keras.layers.modality_gate import ModalityGate
from mm_keras.layers.modality_input import ModalityInput
from mm_keras.layers.mutual_learning import MutualLearning
from mm_keras.layers.non_local import NonLocalBlock
from mm_keras.layers.pixel_preprocessing import PixelPreprocessing
from mm_keras.layers.position_embedding import PositionEmbedding
from mm_keras.layers.rematerialized import Rematerialized
from mm_keras.layers.sequence_pooling import SequencePooling
from mm_keras.layers.similarity import Similarity
from mm_keras.layers.similarity_alignment import SimilarityAlignment
from mm_keras.layers.similarity_pooling import SimilarityPooling
from mm_keras.layers.slice_axis import SliceAxis
from mm_keras.layers.temperature_scaling import TemperatureScaling
from mm_keras.layers.training_only import (
    TrainingOnly,
    TrainingOutput,
)
from mm_keras.layers.transformer_block import TransformerBlock
from mm_keras.layers.unit_embedding import UnitEmbedding
from mm_keras.layers.view_dropout import ViewDropout
from mm_keras.layers.view_pooling import ViewPooling

__all__ = [
    "FUSIONS",
    "MMTM",
    "AdversarialAlignment",
    "AllPresent",
    "AlwaysPresent",
    "AnyPresent",
    "ApplyGates",
    "AttentionBottleneck",
    "ColumnEmbedding",
    "ConcatFusion",
    "ConditionalFeatures",
    "ContrastiveLearning",
    "CrossAttention",
    "CrossAttentionFusion",
    "CrossModalNonLocal",
    "DomainWeighting",
    "ElementwiseFusion",
    "EnergyWeighting",
    "Ensemble",
    "FoldBatch",
    "Fusion",
    "GateCost",
    "GatedFusion",
    "GradientModulation",
    "GradientReversal",
    "HardNegatives",
    "HashedWide",
    "JointFusion",
    "LoadBalance",
    "LogMelSpectrogram",
    "LowRankFusion",
    "MatchLoss",
    "ModalityDropout",
    "ModalityGate",
    "ModalityInput",
    "MutualLearning",
    "NonLocalBlock",
    "PaddingMask",
    "PixelPreprocessing",
    "PositionEmbedding",
    "Rematerialized",
    "RepeatMask",
    "SequencePooling",
    "Similarity",
    "SimilarityAlignment",
    "SimilarityPooling",
    "SliceAxis",
    "TemperatureScaling",
    "TensorFusion",
    "TrainingOnly",
    "TrainingOutput",
    "TransformerBlock",
    "UnfoldBatch",
    "UnitEmbedding",
    "ViewDropout",
    "ViewMask",
    "ViewPooling",
    "ZeroMasked",
    "get_fusion",
]
