"""The fusion layers."""

import numpy as np

from mm_keras import layers
from tests.conformance.cases import KEY_BIAS, PRESENT, LayerCase, floats, fusion_features


def layer_cases():
    features = fusion_features()
    mask = {"audio": PRESENT, "text": np.array([[1, 1, 0, 0]] * 4, "bool")}
    for name in layers.FUSIONS:
        yield LayerCase(
            f"fusion-{name}",
            lambda name=name: layers.get_fusion(name),
            features,
            {"mask": mask},
            {"may_lack_gradient": KEY_BIAS},
        )
    for cls in (
        layers.ConcatFusion,
        layers.GatedFusion,
        layers.LowRankFusion,
        layers.TensorFusion,
    ):
        unequal = {"a": floats(4, 3, 5), "b": floats(4, 2, 7)}
        yield LayerCase(
            f"{cls.__name__}-unequal", lambda cls=cls: cls(pooling="attention"), unequal
        )
    yield LayerCase("ElementwiseFusion", lambda: layers.ElementwiseFusion("sum", "max"), features)
    yield LayerCase(
        "CrossAttentionFusion",
        lambda: layers.CrossAttentionFusion(heads=2, dropout=0.1),
        fusion_features(("a", "b")),
        options={"may_lack_gradient": KEY_BIAS},
    )
