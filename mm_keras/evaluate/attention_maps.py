"""What the attention of a model looked at, sample by sample."""

from typing import Any

import keras

from mm_keras.evaluate.attention_reader import AttentionMap, AttentionReader
from mm_keras.evaluate.explained import Explained
from mm_keras.evaluate.samples import Arrays


def attention_maps(
    model: keras.Model, inputs: Any, batch_size: int = 32
) -> dict[str, AttentionMap]:
    """Collects what the layers of a model attended to, over the positions of each modality.

    Of non-local blocks (`mm.build_nasn`), cross-attention (`fusion="cross_attention"`,
    `exchange="attention"` of `mm.build_dfn`), similarity matrices and the alignment that is made
    of them (`mm.build_cmn`), attention pooling (`pooling="attention"`) and
    `keras.layers.MultiHeadAttention` between layers of a graph. Heads are averaged. Where a block
    subsamples its keys, a window's weight is spread over its positions.

    Attention says where a layer looked, not what that meant for the prediction:
    `mm.evaluate.integrated_gradients` says that.

    Args:
        model: A functional model, from a builder or made by hand.
        inputs: `{name: (n, …)}`; or batches of them.
        batch_size: Of whole arrays.

    Returns:
        `{"<layer>/<queries>/<keys>": map}`, of poolings `{"<layer>/<keys>": map}`, of similarity
        matrices `{"<layer>": map}`, whose name says both modalities.

    Raises:
        ValueError: If the model has no such layer, or one with `chunk`, which never has the whole
            map.
        TypeError: If the model is not functional.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> model = mm.build_nasn(
    ...     {"image": mm.Image((8, 8, 1), backbone="SmallCNN"), "words": mm.Features((5, 6))},
    ...     num_classes=3,
    ...     scope="cross",
    ... )
    >>> inputs = {"image": np.random.uniform(0, 255, (4, 8, 8, 1)), "words": np.ones((4, 5, 6))}
    >>> maps = mm.evaluate.attention_maps(model, inputs)
    >>> for name, found in sorted(maps.items()):
    ...     print(name, found.weights.shape)
    fusion/image (4, 2, 2)
    fusion/words (4, 5)
    non_local_1/image/words (4, 2, 2, 5)
    non_local_1/words/image (4, 5, 2, 2)

    Reference: Bahdanau et al., 2015; Wang et al., Non-local Neural Networks, 2018; Jain and
    Wallace, Attention is not Explanation, 2019.
    """
    explained = Explained(model)
    readers = {step.key: AttentionReader(step, explained.specs) for step in explained.steps}
    readers = {key: reader for key, reader in readers.items() if reader.read}
    if not readers:
        raise ValueError(
            "`model` must have attention, similarity matrices, or pooling='attention'. Received: "
            f"{model.name!r}, whose layers have none. Build it with mm.build_nasn, mm.build_cmn, "
            "fusion='cross_attention' or pooling='attention'."
        )
    about: dict[str, AttentionMap] = {}

    def explain(batch: Arrays, _: int) -> Arrays:
        explained.run(batch, readers)
        found = {name: x for reader in readers.values() for name, x in reader.found.items()}
        about.update(found)
        return {name: x.weights for name, x in found.items()}

    weights = explained.collect(inputs, batch_size, explain)
    return {name: about[name]._replace(weights=array) for name, array in weights.items()}
