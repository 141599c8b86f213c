"""Labels for models that predict the same thing several times."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from mm_keras.data.outputs import outputs_with_loss


def labels_for_outputs(dataset: tf.data.Dataset, model: keras.Model) -> tf.data.Dataset:
    """Gives every output the labels of the head that it belongs to.

    Students of `build_dml` and auxiliary heads predict what their head predicts: `"image_label"`,
    or `"image"` where there is one head, has the labels of `"label"`. Keras wants them under each
    output's own name. Sample weights are passed on likewise.

    Outputs that predict nothing, such as `"gates"` of `build_dfn` or `"<views>_saliency"` of
    `build_mvcnn`, get zeros where the model is compiled with a dict of losses that leaves them out:
    nothing reads them, but a model with metrics does not train without.

    Args:
        dataset: Elements `(inputs, labels)` or `(inputs, labels, sample_weight)`; labels an array,
            or `{head: labels}`; batches or single samples.
        model: A functional `keras.Model` with a dict of outputs.

    Returns:
        The dataset with `{output: labels}`.

    Raises:
        ValueError: If elements have another structure, if a dict of labels lacks those of some
            output, or if labels are an array and no head is that of all outputs.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> model = mm.build_dml({"a": mm.Features(4), "b": mm.Features(3)}, 2)
    >>> x = {"a": np.zeros((6, 4)), "b": np.zeros((6, 3))}
    >>> data = tf.data.Dataset.from_tensor_slices((x, [0, 1, 0, 1, 0, 1])).batch(2)
    >>> sorted(mm.data.labels_for_outputs(data, model).element_spec[1])
    ['a', 'b', 'label']
    """
    if not isinstance(getattr(model, "output", None), Mapping):
        raise ValueError(f"`model` must have a dict of outputs. Received: {model!r}.")
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3):
        raise ValueError(
            "`dataset` must give (inputs, labels) or (inputs, labels, sample_weight). "
            f"Received elements: {spec}."
        )
    heads = [_heads_of(part, model) for part in spec[1:]]

    def rename(inputs, *parts):
        def values(part, head):
            if head is None:
                return _zeros(inputs, model)
            return part[head] if isinstance(part, Mapping) else part

        return inputs, *(
            {output: values(part, head) for output, head in head_of.items()}
            for part, head_of in zip(parts, heads, strict=True)
        )

    return dataset.map(rename, num_parallel_calls=tf.data.AUTOTUNE)


def _zeros(inputs, model: keras.Model) -> tf.Tensor:
    """Returns one number for each sample of a batch, or one for a single sample."""
    name, entered = next(iter(model.input.items()))
    batched = len(inputs[name].shape) == len(entered.shape)
    return tf.zeros(tf.shape(inputs[name])[:1] if batched else ())


def _heads_of(labels, model: keras.Model) -> dict[str, str | None]:
    """Returns `{output: head}` for the heads that there are labels of; `None`: it needs none."""
    layers = {layer.name for layer in model.layers}
    outputs = sorted(model.output)
    trained = outputs_with_loss(model)
    untrained = set(outputs) - (set(outputs) if trained is None else trained)

    def head_of(output: str, heads) -> str | None:
        if output in heads:
            return output
        # The layer behind the output "image" of the head "label" is named "image_label".
        found = [h for h in heads if output.endswith(f"_{h}") or f"{output}_{h}" in layers]
        return max(found, key=len, default=None)

    if isinstance(labels, Mapping):
        found = {output: head_of(output, sorted(labels)) for output in outputs}
        lacking = [output for output, head in found.items() if head is None]
        lacking = [output for output in lacking if output not in untrained]
        if lacking:
            raise ValueError(
                f"`dataset` must give labels for the outputs {outputs}. "
                f"Received: {sorted(labels)}, without those of {lacking}."
            )
        return found
    for needed in (outputs, [output for output in outputs if output not in untrained]):
        common = [h for h in outputs if all(head_of(output, [h]) for output in needed)]
        if common:
            break
    if len(common) != 1:
        raise ValueError(
            f"`dataset` must give a dict of labels for the outputs {outputs}, which are not all "
            "of one head. Received: one array."
        )
    return {output: head_of(output, common) for output in outputs}
