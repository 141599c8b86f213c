"""Fusion layers, and the table that gives them short names."""

import keras

from mm_keras._checks import check_choice
from mm_keras.layers.fusion.base import Fusion
from mm_keras.layers.fusion.concat import ConcatFusion
from mm_keras.layers.fusion.cross_attention import CrossAttentionFusion
from mm_keras.layers.fusion.elementwise import ElementwiseFusion
from mm_keras.layers.fusion.gated import GatedFusion
from mm_keras.layers.fusion.joint import JointFusion
from mm_keras.layers.fusion.low_rank import LowRankFusion
from mm_keras.layers.fusion.tensor import TensorFusion

FUSIONS = {
    "concat": (ConcatFusion, {}),
    "sum": (ElementwiseFusion, {"mode": "sum"}),
    "mean": (ElementwiseFusion, {"mode": "mean"}),
    "max": (ElementwiseFusion, {"mode": "max"}),
    "gated": (GatedFusion, {}),
    "low_rank": (LowRankFusion, {}),
    "tensor": (TensorFusion, {}),
    "cross_attention": (CrossAttentionFusion, {}),
    "joint": (JointFusion, {}),
}


def get_fusion(fusion, pooling: str = "mean"):
    """Returns the fusion layer of that name, or the layer that was passed.

    Args:
        fusion: A key of `FUSIONS`, or a layer that keeps the contract of `Fusion`, whose name it
            keeps.
        pooling: For a name: how a modality's positions become one vector.

    Raises:
        TypeError: If it is a layer of one tensor, such as `keras.layers.Dense`, or no layer.
    """
    if isinstance(fusion, keras.layers.Layer) and _takes_dicts(fusion):
        return fusion
    if not isinstance(fusion, str):
        raise TypeError(
            f"`fusion` must be one of {list(FUSIONS)}, or a layer that keeps the contract of "
            "mm.layers.Fusion, called with a dict {name: (B, N, D)} and `mask`: "
            "mm.layers.GatedFusion(), say, or a subclass of yours (docs/extend.md). "
            f"Received: fusion={fusion!r}."
        )
    check_choice("fusion", fusion, FUSIONS)
    cls, options = FUSIONS[fusion]
    return cls(pooling=pooling, name="fusion", **options)


def _takes_dicts(layer) -> bool:
    """Whether a layer may take a dict of features: Keras' own take tensors, but for models."""
    return isinstance(layer, keras.Model) or not type(layer).__module__.startswith("keras.")


__all__ = [
    "FUSIONS",
    "ConcatFusion",
    "CrossAttentionFusion",
    "ElementwiseFusion",
    "Fusion",
    "GatedFusion",
    "JointFusion",
    "LowRankFusion",
    "TensorFusion",
    "get_fusion",
]
