"""The check that every fusion layer passes."""

from collections.abc import Callable, Mapping

import keras
import numpy as np

from mm_keras.testing.compare import name_of, require, require_close, require_finite, to_numpy
from mm_keras.testing.gradients import SEED, gradients


def check_fusion(
    layer: keras.layers.Layer,
    features: Mapping[str, np.ndarray],
    *,
    weights_of: Callable[[str, str], bool] | None = None,
    rtol: float = 1e-5,
) -> None:
    """Checks the contract of `mm_keras.layers.Fusion` in every pattern of presence.

    With features of absent modalities replaced by noise, infinities and NaN the output stays the
    same to the last bit; their gradient is 0; weights that belong to a modality get no gradient
    from a batch that lacks it; a sample without any modality gives a finite output; a mask of
    positions says the same as a mask of the modality.

    Args:
        layer: Takes `{name: (B, N, D)}` and `mask={name: (B, N) or (B, 1)}`.
        features: `{name: (1 or more, N, D)}`, N of at least 2; the first sample is used.
        weights_of: `weights_of(path, name)`: whether the weight of that path serves that modality
            alone. By default a part of the path is the name, or starts with it and `_`.
        rtol: Relative tolerance of what need not be the same to the last bit.

    Raises:
        AssertionError: If something does not hold.
    """
    names = sorted(features)
    patterns = np.array(list(np.ndindex(*[2] * len(names))), dtype="bool")  # the first: none
    rng = np.random.default_rng(SEED)
    features = {
        name: np.repeat(features[name][:1], len(patterns), axis=0).astype("float32")
        for name in names
    }
    present = {name: patterns[:, index : index + 1] for index, name in enumerate(names)}
    positions = {}
    for name in names:
        positions[name] = np.repeat(present[name], features[name].shape[1], axis=1)
        positions[name][:, -1] = False  # also where the modality is present
    for kind, mask in (("(B, 1)", present), ("(B, N)", positions)):
        _check_absence(layer, features, mask, f"{name_of(layer)} with a mask {kind}", rng)
    everywhere = {
        name: np.repeat(present[name], array.shape[1], axis=1) for name, array in features.items()
    }
    require_close(
        to_numpy(layer(features, mask=everywhere)),
        to_numpy(layer(features, mask=present)),
        f"output of {name_of(layer)} for masks (B, N) and (B, 1)",
        rtol,
    )
    _check_idle_weights(layer, features, present, weights_of or _belongs)


def _check_absence(layer, features, mask, name, rng) -> None:
    """Checks that what a mask leaves out has no effect and no gradient."""
    expected = to_numpy(layer(features, mask=mask))
    require_finite(expected, f"output of {name}")
    kept = {key: np.broadcast_to(m, features[key].shape[:2]) for key, m in mask.items()}
    for garbage in ("noise", np.inf, -np.inf, np.nan):
        replaced = {}
        for key, array in features.items():
            other = rng.normal(scale=50, size=array.shape) if garbage == "noise" else garbage
            replaced[key] = np.where(kept[key][..., None], array, other).astype("float32")
        outputs = to_numpy(layer(replaced, mask=mask))
        for row, pattern in enumerate(zip(*mask.values(), strict=True)):
            there = [key for key, m in zip(mask, pattern, strict=True) if m.any()]
            require(
                np.array_equal(outputs[row], expected[row]),
                f"{name}: {garbage} in what is absent changes the output where {there} is present.",
            )
        if garbage in (np.inf, -np.inf):
            continue  # NaN covers them in the gradient
        found = gradients(lambda x: layer(x, mask=mask), layer, replaced)
        for key in features:
            gradient = found[key]
            require(gradient is not None, f"{name}: {key!r} gets no gradient at all.")
            require(
                not np.any(gradient[~kept[key]]),
                f"{name}: absent positions of {key!r} that hold {garbage} get a gradient.",
            )
        for key, gradient in found.items():
            if gradient is not None:
                require_finite(gradient, f"gradient of {key} in {name}, {garbage} where absent")


def _check_idle_weights(layer, features, present, weights_of) -> None:
    """Checks that a batch without a modality moves none of the weights that serve it alone."""
    for name in present:
        rows = ~present[name][:, 0]
        some = {key: array[rows] for key, array in features.items()}
        mask = {key: array[rows] for key, array in present.items()}
        found = gradients(lambda some=some, mask=mask: layer(some, mask=mask), layer)
        for path, gradient in found.items():
            if gradient is not None and weights_of(path, name):
                require(
                    not np.any(gradient),
                    f"{name_of(layer)}: {path!r} gets a gradient from a batch without {name!r}.",
                )


def _belongs(path: str, name: str) -> bool:
    return any(part == name or part.startswith(f"{name}_") for part in path.split("/"))
