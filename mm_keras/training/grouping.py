"""Callbacks give a compiled model an optimizer with groups, in the middle of `fit`."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import keras

from mm_keras.training.grouped_optimizer import GroupedOptimizer


class RegroupingCallback(keras.callbacks.Callback):
    """What callbacks share that say something for each modality, or layer, by its name.

    They change the optimizer and the compiled step of `Model.fit`.
    """

    @staticmethod
    def checked(
        argument: str, values: Any, what: str, check: Callable[[str, Any], None]
    ) -> dict[str, Any]:
        """Returns `{name: value}` after a check of all."""
        if not isinstance(values, Mapping):
            raise TypeError(
                f"`{argument}` must be {{modality or layer: {what}}}. "
                f"Received: {argument}={values!r}."
            )
        if not values:
            raise ValueError(f"`{argument}` must have at least one name. Received: {{}}.")
        for name, value in values.items():
            check(f"{argument}[{name!r}]", value)
        return dict(values)


def group_weights(
    model: keras.Model, labels: Mapping[int, Hashable]
) -> tuple[GroupedOptimizer, dict[int, int]]:
    """Makes the optimizer of a compiled model one whose groups have one label each.

    Groups that there are already are divided further, not joined.

    Args:
        model: Compiled.
        labels: `{id of a weight: label}`; a weight left out has the label `None`.

    Returns:
        The optimizer, and `{id of a weight: number of its group}`.

    Raises:
        ValueError: If the optimizer has taken steps, whose moments would be lost.
    """
    optimizer, weights = _plain(model.optimizer), model.trainable_weights
    known = isinstance(optimizer, GroupedOptimizer)
    known = known and all(optimizer.group_of(weight) is not None for weight in weights)
    if known:
        weights = optimizer.weights  # those that are frozen now included
    earlier = [optimizer.group_of(weight) if known else 0 for weight in weights]
    keys = [(group, labels.get(id(weight))) for group, weight in zip(earlier, weights, strict=True)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    groups = [numbers[key] for key in keys]
    if known and len(numbers) == len({*earlier}):
        groups = earlier
    elif int(keras.ops.convert_to_numpy(optimizer.iterations)):
        raise ValueError(
            "`optimizer` must not have taken a step yet, since its moments would be lost in other "
            "groups: compile the model before this training, or go on with the callbacks that the "
            f"last one had. Received: {optimizer.name!r} of {model.name!r}."
        )
    else:
        rates = [optimizer.rates[group] if known else 1.0 for group, _ in numbers]
        optimizer = GroupedOptimizer(_template(optimizer), groups, rates)
        optimizer.build(weights)
        _replace(model, optimizer)
    return optimizer, {id(w): group for w, group in zip(weights, groups, strict=True)}


def recompile_training(model: keras.Model) -> None:
    """Makes the compiled step of a training anew, after rates or `trainable` have changed."""
    known = getattr(model, "_compiled_trainable_state", None)
    if known is not None:  # or Keras warns that the change has no effect, which it has
        known.update({layer: layer.trainable for layer in list(known)})
    model.make_train_function(force=True)


def _plain(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    return optimizer.inner_optimizer if scaled else optimizer


def _template(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    if not isinstance(optimizer, GroupedOptimizer):
        return optimizer
    return keras.optimizers.deserialize(optimizer.get_config()["optimizer"])


def _replace(model: keras.Model, optimizer: GroupedOptimizer) -> None:
    """Puts an optimizer in the place of the one that a model was compiled with."""
    whole = optimizer
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        options = model.optimizer.get_config()
        whole = keras.optimizers.LossScaleOptimizer(
            optimizer, options["initial_scale"], options["dynamic_growth_steps"]
        )
        whole.build(model.trainable_weights)
    model.optimizer = whole
    compiled = getattr(model, "_compile_config", None)
    if compiled is not None:  # what a file of the model says
        compiled.config["optimizer"] = optimizer
