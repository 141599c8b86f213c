"""Views of an object to positions of one pooled feature map."""

from collections.abc import Callable, Iterator

import keras

from mm_keras._checks import nearest
from mm_keras.encoders.views import ViewsEncoder
from mm_keras.layers import AnyPresent, Rematerialized, ViewDropout, ViewMask, ViewPooling
from mm_keras.modalities import Views

Cut = Callable[[keras.Model], tuple[keras.Model, keras.Model | None]]


class MultiViewEncoder(ViewsEncoder):
    """Views → CNN1 on each → pooled over the views → CNN2 → positions of its feature map.

    Args:
        cut: Returns CNN1 and CNN2 of a backbone; where CNN2 is `None`, the backbone is CNN1. With
            a backbone for each view, CNN2 is that of the first.
        view_pooling: A mode of `ViewPooling`, or a layer with its call arguments.
        view_dropout: Rate at which views are dropped in training.
        seeds: Gives the seed of that.
        saliencies: A list that gets the saliency `(B, V)` of every call; `None`: not computed.
    """

    def __init__(
        self,
        spec: Views,
        width: int,
        name: str,
        backbone=None,
        *,
        cut: Cut,
        view_pooling: str | keras.layers.Layer = "max",
        view_dropout: float = 0.0,
        seeds: Iterator[int | None],
        saliencies: list | None = None,
    ):
        super().__init__(spec, width, name, backbone)
        halves = [cut(model) for model in (self.backbone.model, *self.others)]
        self.first = [first for first, _ in halves]
        self.second = halves[0][1]
        if isinstance(view_pooling, str):
            view_pooling = ViewPooling(view_pooling, name=f"{name}_view_pooling")
        self.pool = view_pooling
        self.saliencies = saliencies
        self.drop = None
        if view_dropout:
            self.drop = ViewDropout(view_dropout, next(seeds), name=f"{name}_view_dropout")
        self.view_mask = ViewMask(name=f"{name}_view_mask")
        self.any_present = AnyPresent(name=f"{name}_any_present")
        self.stack = None

    def __call__(self, inputs, present=None):
        maps = self.maps(inputs)
        mask = self.kept(maps, present)
        if self.saliencies is None:
            x = self.pool(maps, mask=mask)
        else:
            x, saliency = self.pool(maps, mask=mask, return_saliency=True)
            self.saliencies.append(saliency)
        if self.second is not None:
            x = self.second(x)
        return self.project(x), self.presence(present, x)

    def kept(self, maps, present):
        """Returns the mask of the views that are pooled; `None`: all of them, always."""
        return self.drop(self.view_mask(maps, present=present)) if self.drop else present

    def maps(self, inputs):
        """Returns CNN1's features of every view, `(B, V, …, C)`."""
        if self.spec.shared:
            return self.unfold(self.first[0](self.preprocess(self.fold(inputs))))
        pixels = self.preprocess(inputs)
        maps = [cnn(take(pixels)) for cnn, take in zip(self.first, self.slices, strict=True)]
        x = maps[0] if len(maps) == 1 else self.join(maps)
        if self.stack is None:
            shape = (self.spec.count, *maps[0].shape[1:])
            self.stack = keras.layers.Reshape(shape, name=f"{self.name}_stack")
        return self.stack(x)

    def presence(self, present, features):
        if present is None or present.shape[1] == 1:
            return present
        return self.any_present(present)


class CutAfter:
    """Cuts backbones in two after the layer of a name; a shared backbone is cut once.

    Args:
        layer: Name of a layer; `None`: the backbone stays whole.
    """

    def __init__(self, layer: str | None):
        self.layer = layer
        self.done: dict[int, tuple[keras.Model, keras.Model, keras.Model | None]] = {}

    def __call__(self, model: keras.Model) -> tuple[keras.Model, keras.Model | None]:
        if self.layer is None:
            return model, None
        if id(model) not in self.done:  # with the model, so that its id stays taken
            self.done[id(model)] = (model, *cut_backbone(model, self.layer))
        return self.done[id(model)][1:]


def cut_backbone(model: keras.Model, layer: str) -> tuple[keras.Model, keras.Model | None]:
    """Returns a backbone up to the layer of that name, and what follows: `None` after the last.

    Both are made of the backbone's own layers and weights.

    Raises:
        ValueError: If there is no such layer, or if something passes it by, so that the graph
            does not come apart there.
    """
    if not hasattr(model, "operations"):
        raise ValueError(
            "`pool_after` must be None for a backbone without a graph, since that has no layer to "
            f"cut after. Received: pool_after={layer!r}, backbone={model.name!r} of type "
            f"{type(model).__name__}."
        )
    names = [one.name for one in model.layers if not isinstance(one, keras.layers.InputLayer)]
    if layer not in names:
        shown = names if len(names) <= 40 else [*names[:3], "…", *names[-3:]]
        raise ValueError(
            f"`pool_after` must name a layer of the backbone {model.name!r}: {shown}."
            f"{nearest(layer, names)} Received: pool_after={layer!r}."
        )
    output = model.get_layer(layer).output
    if output is model.output:
        return model, None
    try:
        make = Rematerialized if isinstance(model, Rematerialized) else keras.Model
        first = make(model.input, output, name=model.name)
        second = make(output, model.output, name=f"{model.name}_tail")
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            "`pool_after` must name a layer that all of the graph passes through: a residual or "
            f"parallel branch goes by this one. Received: pool_after={layer!r} of "
            f"{model.name!r}. Choose the layer that joins the branches."
        ) from error
    return first, second
