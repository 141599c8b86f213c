"""Layers that don't learn."""

import keras

from mm_keras.training.layers_of import layers_of


def freeze(model: keras.Model, *names: str) -> list[str]:
    """Keeps layers from learning; compile the model after it.

    Their weights stay as they are, and BatchNormalization in them stays in inference mode: it
    neither uses nor changes statistics of the batch.

    Args:
        model: Functional, of a builder or made by hand.
        *names: Of modalities or layers, as in `mm.training.layers_of`.

    Returns:
        The names of the layers.

    Raises:
        ValueError: If there is no such modality or layer; nothing has changed then.

    Example:

    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"image": mm.Features(8), "audio": mm.Features(6)}, 10)
    >>> mm.training.freeze(model, "image")
    ['image_projection']
    >>> [weight.path for weight in model.trainable_weights][:2]
    ['audio_projection/kernel', 'audio_projection/bias']
    """
    return _set_trainable(model, names, False)


def unfreeze(model: keras.Model, *names: str) -> list[str]:
    """Lets layers learn, wholly, also if a spec's `trainable` says otherwise; compile after it.

    Args:
        model: Functional, of a builder or made by hand.
        *names: Of modalities or layers, as in `mm.training.layers_of`.

    Returns:
        The names of the layers.

    Raises:
        ValueError: If there is no such modality or layer; nothing has changed then.
    """
    return _set_trainable(model, names, True)


def _set_trainable(model: keras.Model, names: tuple[str, ...], trainable: bool) -> list[str]:
    if not names:
        raise ValueError("`names` must be one name or more. Received: none.")
    layers = {layer.name: layer for name in names for layer in layers_of(model, name)}
    for layer in layers.values():
        layer.trainable = trainable
    return list(layers)
