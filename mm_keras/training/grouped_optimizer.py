"""One optimizer with several groups of weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from mm_keras._checks import check_int, check_number


@keras.saving.register_keras_serializable("mm_keras")
class GroupedOptimizer(keras.optimizers.Optimizer):
    """Runs a copy of an optimizer on each group of weights, at the learning rate × the group's.

    The copies have moments and a count of steps of their own, which starts with the first step that
    a group learns in: so the correction of Adam's bias is right for weights that are unfrozen late.
    Weight decay follows the group's rate. A group without gradients, frozen as it is, is left out.
    `learning_rate` is that of a group with the rate 1; callbacks and schedules act on it.

    `mm.training.ModalityRates` and `mm.training.GradualUnfreezing` make it for a model's own
    optimizer. It saves and loads with the model.

    Args:
        optimizer: What each group gets a copy of.
        groups: For each weight, in the order of `model.trainable_weights`, the number of its group.
        rates: For each group, what its learning rate is multiplied by, at least 0.

    Raises:
        ValueError: If an argument doesn't fit, or the optimizer clips by the norm of all gradients
            (`global_clipnorm`), which no group knows.

    Example:

    >>> import keras
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"image": mm.Features(8), "audio": mm.Features(6)}, 10)
    >>> slow = [weight.path.startswith("image") for weight in model.trainable_weights]
    >>> optimizer = mm.training.GroupedOptimizer(keras.optimizers.Adam(), slow, rates=[1.0, 0.1])
    >>> model.compile(optimizer, {"label": mm.losses.classification()})
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        groups: Sequence[int],
        rates: Sequence[float] = (1.0,),
        name: str | None = None,
    ):
        _check_optimizer(optimizer)
        for rate in rates:
            check_number("rates", rate)
        for group in groups:
            check_int("groups", int(group), minimum=0)
        if groups and max(groups) >= len(rates):
            raise ValueError(
                "`groups` must be numbers of groups, below the number of `rates`. "
                f"Received: {max(groups)}, {len(rates)} rates."
            )
        config = optimizer.get_config()
        rate = config["learning_rate"]
        if isinstance(rate, Mapping):
            rate = keras.optimizers.schedules.deserialize(rate)
        super().__init__(
            learning_rate=rate, loss_scale_factor=config.get("loss_scale_factor"), name=name
        )
        self._template = keras.optimizers.serialize(optimizer)
        self.groups = tuple(int(group) for group in groups)
        self.rates = tuple(float(rate) for rate in rates)
        self._members = [_member(optimizer, self, number) for number in range(len(self.rates))]
        self._group_of: dict[int, int] = {}
        self._weights: Callable[[], list[keras.Variable]] = list

    @property
    def members(self) -> list[keras.optimizers.Optimizer]:
        """One for each group."""
        return list(self._members)

    def group_of(self, weight: keras.Variable) -> int | None:
        """Returns the number of a weight's group; `None` for one that it wasn't built with."""
        return self._group_of.get(id(weight))

    @property
    def weights(self) -> list[keras.Variable]:
        """What it was built with."""
        return list(self._weights())

    @property
    def variables(self):
        found = self._variables[:]
        for member in self._members:
            found.extend(member.variables)
        return found

    def build(self, variables):
        if self.built:
            return
        variables = list(variables)
        if len(variables) != len(self.groups):
            raise ValueError(
                "`groups` must have a number for each weight that learns. "
                f"Received: {len(self.groups)} numbers, {len(variables)} weights."
            )
        self._weights = lambda: variables  # in a list they would count as the optimizer's own
        self._group_of = {
            id(variable): group for variable, group in zip(variables, self.groups, strict=True)
        }
        for number, own in enumerate(self._parts(variables)):
            if own:
                self._members[number].build(own)
        super().build(variables)

    def apply(self, grads, trainable_variables=None):
        variables = self._weights() if trainable_variables is None else list(trainable_variables)
        self.build(variables)
        scale = self.loss_scale_factor or 1.0
        gradients = {
            id(variable): gradient / scale if scale != 1 else gradient
            for gradient, variable in zip(grads, variables, strict=True)
            if gradient is not None
        }
        for member, own in zip(self._members, self._parts(variables), strict=True):
            known = [variable for variable in own if id(variable) in gradients]
            if known:
                member.apply([gradients[id(variable)] for variable in known], known)
        self._iterations.assign_add(1)

    def finalize_variable_values(self, var_list):
        for member, own in zip(self._members, self._parts(var_list), strict=True):
            if own:
                member.finalize_variable_values(own)

    def set_weights(self, weights):
        for variable, weight in zip(self.variables, weights, strict=True):
            variable.assign(weight)

    def get_config(self):
        config = {**self._template["config"]}
        if not isinstance(config["learning_rate"], Mapping):
            config["learning_rate"] = float(keras.ops.convert_to_numpy(self.learning_rate))
        return {
            "optimizer": {**self._template, "config": config},
            "groups": list(self.groups),
            "rates": list(self.rates),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        optimizer = keras.optimizers.deserialize(config["optimizer"], custom_objects)
        return cls(**{**config, "optimizer": optimizer})

    def _parts(self, variables) -> list[list]:
        """Returns the variables of each group."""
        parts = [[] for _ in self._members]
        for variable in variables:
            parts[self._group_of[id(variable)]].append(variable)
        return parts


def _check_optimizer(optimizer: Any) -> None:
    nested = (
        keras.optimizers.LossScaleOptimizer,
        keras.optimizers.MultiOptimizer,
        GroupedOptimizer,
    )
    if not isinstance(optimizer, keras.optimizers.Optimizer) or isinstance(optimizer, nested):
        raise ValueError(
            "`optimizer` must be a Keras optimizer that holds no other. "
            f"Received: optimizer={optimizer!r}."
        )
    if optimizer.global_clipnorm:
        raise ValueError(
            "`optimizer` must not clip by the norm of all gradients, since each group sees its own "
            "alone: use clipnorm, of each weight. "
            f"Received: global_clipnorm={optimizer.global_clipnorm}."
        )


def _member(optimizer, whole: GroupedOptimizer, number: int) -> keras.optimizers.Optimizer:
    """Returns a copy of an optimizer whose learning rate is that of the whole × its group's."""
    config = optimizer.get_config()
    config["learning_rate"] = lambda: whole.learning_rate * whole.rates[number]
    config["loss_scale_factor"] = None
    return type(optimizer).from_config(config)
