"""The layers that encoders and all builders use."""

import numpy as np

import mm_keras as mm
from mm_keras import layers
from tests.conformance.cases import KEY_BIAS, POSITIONS, PRESENT, LayerCase, floats

PROBABILITIES = np.random.default_rng(0).dirichlet([1, 1, 1], size=4).astype("float32")


def layer_cases() -> list[LayerCase]:
    """Returns the layers that encoders and builders have in common."""
    sequence = floats(4, 3, 8)
    ids = np.array([[3, 1, 0], [2, 0, 0], [0, 0, 0], [5, 6, 7]], "int32")
    table = np.concatenate([floats(4, 2), [[0, 1], [2, 4], [1, 0], [2, 2]]], axis=1)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 3, 1)).astype("uint8")
    masks = {"image": POSITIONS, "audio": PRESENT}
    return [
        LayerCase("AlwaysPresent", layers.AlwaysPresent, sequence),
        LayerCase("AnyPresent", layers.AnyPresent, POSITIONS),
        LayerCase(
            "ColumnEmbedding",
            lambda: layers.ColumnEmbedding(2, (3, 5), 4),
            table.astype("float32"),
        ),
        LayerCase("FoldBatch", layers.FoldBatch, floats(4, 2, 3, 1), options={"fit": False}),
        LayerCase("FoldBatch-uint8", layers.FoldBatch, pixels, options={"fit": False}),
        LayerCase(
            "UnfoldBatch",
            lambda: layers.UnfoldBatch(2),
            floats(8, 3, 1),
            options={"fit": False, "batch_sizes": (2, 6)},
        ),
        LayerCase(
            "UnfoldBatch-uint8",
            lambda: layers.UnfoldBatch(2),
            pixels,
            options={"fit": False, "batch_sizes": (2,)},
        ),
        LayerCase("TemperatureScaling", lambda: layers.TemperatureScaling(2.0), PROBABILITIES),
        LayerCase(
            "TemperatureScaling-independent",
            lambda: layers.TemperatureScaling(0.5, independent=True),
            PROBABILITIES,
        ),
        LayerCase(
            "GradientModulation",
            lambda: layers.GradientModulation(0.5, noise=True, seed=0),
            (
                {"image": sequence, "audio": floats(4, 2, 5)},
                {"image": floats(4, 3), "audio": floats(4, 3, seed=1)},
            ),
            {"mask": masks},
        ),
        LayerCase(
            "HashedWide",
            lambda: layers.HashedWide(2, 10, 3),
            np.array([[0, 9], [3, 3], [9, 0], [1, 2]], "float32"),
        ),
        LayerCase(
            "LogMelSpectrogram",
            lambda: layers.LogMelSpectrogram(8000, 64, 32, 64, mel_bins=8),
            0.1 * floats(4, 256),
        ),
        LayerCase("ModalityDropout", lambda: layers.ModalityDropout(0.5, seed=1), masks),
        LayerCase("ModalityInput", lambda: layers.ModalityInput(mm.Features((3, 8))), sequence),
        LayerCase(
            "ModalityInput-optional",
            lambda: layers.ModalityInput(mm.Image((3, 3, 1), optional=True, backbone="SmallCNN")),
            pixels,
            {"present": PRESENT},
        ),
        LayerCase(
            "ModalityInput-text",
            lambda: layers.ModalityInput(mm.Text(max_tokens=3, vocabulary_size=8, optional=True)),
            ids,
            {"present": PRESENT},
        ),
        LayerCase("PaddingMask", layers.PaddingMask, ids),
        LayerCase("PixelPreprocessing", lambda: layers.PixelPreprocessing("caffe", True), pixels),
        LayerCase("PositionEmbedding", layers.PositionEmbedding, sequence),
        LayerCase("RepeatMask", lambda: layers.RepeatMask(2), POSITIONS),
        *[
            LayerCase(
                f"SequencePooling-{mode}{suffix}",
                lambda mode=mode: layers.SequencePooling(mode),
                sequence,
                call_kwargs,
            )
            for mode in ("mean", "max", "attention")
            for suffix, call_kwargs in (("", {}), ("-masked", {"mask": POSITIONS}))
        ],
        LayerCase("SliceAxis", lambda: layers.SliceAxis(1, 3), sequence),
        LayerCase("SliceAxis-squeezed", lambda: layers.SliceAxis(2, 3, squeeze=True), pixels),
        LayerCase("TrainingOutput", layers.TrainingOutput, floats(4, 3)),
        LayerCase(
            "TransformerBlock",
            lambda: layers.TransformerBlock(2, dropout=0.1, stochastic_depth=0.1),
            sequence,
            options={"may_lack_gradient": KEY_BIAS},
        ),
        LayerCase(
            "TransformerBlock-masked",
            lambda: layers.TransformerBlock(2),
            sequence,
            {"mask": POSITIONS},
            {"may_lack_gradient": KEY_BIAS},
        ),
        LayerCase("ZeroMasked", layers.ZeroMasked, sequence, {"mask": POSITIONS}),
    ]
