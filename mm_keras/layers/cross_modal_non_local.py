"""Non-local blocks across modalities."""

import keras
from keras import ops

from mm_keras._checks import check_choice
from mm_keras.layers.multimodal import MultimodalLayer
from mm_keras.layers.non_local import NonLocalBlock

SCOPES = ("cross", "joint", "self")
JOINT = "joint"


@keras.saving.register_keras_serializable("mm_keras")
class CrossModalNonLocal(MultimodalLayer):
    """Each modality's positions gather context from positions of other modalities, or of all.

    `NonLocalBlock` for several modalities: every position starts out as it is and comes back with
    context. A position that a mask leaves out is attended to by nobody, gets no gradient, and comes
    back as zeros.

    Args:
        scope: Where a position's context comes from. `"cross"`: from the other modalities, by a
            block for each modality; one that is alone in its sample attends to nothing and stays as
            it is. `"joint"`: from all positions of all modalities, its own among them, by one block
            for all, which have one width. `"self"`: from its own modality, by a block for each.
        form: As in `NonLocalBlock`, like all that follow.
        heads: Number of heads.
        inner_width: Width of the embeddings; `None`: half of the modality's width.
        scale: Whether dot products are divided by √d; `None`: where they go into a softmax.
        symmetric: Whether queries and keys of a block have one embedding; with `"joint"`, i then
            resembles j as much as j does i, across modalities too.
        subsample: Number of consecutive keys, of one modality, that become one by a maximum.
        normalization: `"batch"`, `"layer"` or `None`.
        chunk: Number of queries at a time, which bounds the memory; `None`: all of them.

    Call arguments:
        features: `{name: (B, N_i, D_i)}`; of two modalities or more for `"cross"`, where the others
            of each have one width.
        mask: Optional, `{name: (B, N_i) or (B, 1) bool}`.
        return_attention: Whether to return the attention maps too; not with `chunk`.

    Output shape:
        That of `features`; with `return_attention`, a pair of it and `{name: (B, heads, N_i, K_i)}`
        float32. The K_i keys are those of the other modalities, or of all, in the order of the
        sorted names, each N_j / subsample, rounded up.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> features = {"video": np.ones((2, 16, 8)), "audio": np.ones((2, 40, 8))}
    >>> features, attention = mm.layers.CrossModalNonLocal()(features, return_attention=True)
    >>> {name: tuple(a.shape) for name, a in sorted(attention.items())}
    {'audio': (2, 1, 40, 16), 'video': (2, 1, 16, 40)}

    Reference: Wang et al., Non-local Neural Networks, 2018. Across modalities it is a family of
    layers, not one paper's.
    """

    def __init__(
        self,
        scope: str = "cross",
        form: str = "embedded_gaussian",
        heads: int = 1,
        inner_width: int | None = None,
        scale: bool | None = None,
        symmetric: bool = False,
        subsample: int = 1,
        normalization: str | None = "batch",
        chunk: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_choice("scope", scope, SCOPES)
        self.scope = scope
        self.form = form
        self.heads = heads
        self.inner_width = inner_width
        self.scale = scale
        self.symmetric = symmetric
        self.subsample = subsample
        self.normalization = normalization
        self.chunk = chunk
        self.minimum = 2 if scope == "cross" else 1
        self._make_block("check")  # raises for options that don't fit

    def check_width(self, width: int) -> None:
        """Raises where the heads don't divide what they must, for features of that width."""
        self._make_block("check").check_width(width)

    def build(self, features_shape):
        self.names = self.check_features(features_shape)
        shapes = {name: tuple(features_shape[name]) for name in self.names}
        self.blocks = {}
        if self.scope == JOINT:
            width = self.check_equal_widths({name: shapes[name][-1] for name in self.names})
            shape = (None, self._total(shapes, self.names), width)
            self.blocks[JOINT] = self._make_block("joint_block")
            self.blocks[JOINT].build(shape, shape)
            return
        for name in self.names:
            sources = self._sources(name)
            width = self.check_equal_widths({other: shapes[other][-1] for other in sources})
            self.blocks[name] = self._make_block(f"{name}_block")
            self.blocks[name].build(shapes[name], (None, self._total(shapes, sources), width))

    def call(self, features, mask=None, return_attention=False, training=None):
        mask = self.given(mask)
        options = {"return_attention": return_attention, "training": training}
        if self.scope == JOINT:
            outputs, attention = self._jointly(features, mask, options)
        else:
            outputs, attention = {}, {}
            for name in self.names:
                keys, kept = self._keys(features, mask, self._sources(name))
                block = self.blocks[name]
                found = block(features[name], keys, mask=mask.get(name), keys_mask=kept, **options)
                outputs[name], attention[name] = found if return_attention else (found, None)
        return (outputs, attention) if return_attention else outputs

    def _jointly(self, features, mask, options):
        sequence, kept = self.joined(features, mask, self.names)
        keys, keys_kept = sequence, kept
        if self.subsample > 1:
            keys, keys_kept = self._keys(features, mask, self.names)
        found = self.blocks[JOINT](sequence, keys, mask=kept, keys_mask=keys_kept, **options)
        z, weights = found if options["return_attention"] else (found, None)
        outputs, attention, start = {}, {}, 0
        for name in self.names:
            stop = start + features[name].shape[1]
            outputs[name] = z[:, start:stop]
            attention[name] = None if weights is None else weights[:, :, start:stop]
            start = stop
        return outputs, attention

    def _keys(self, features, mask, names):
        """Returns keys and their mask, each modality filled up to whole windows."""
        size = self.subsample
        if size == 1:
            return self.joined(features, mask, names)
        filled, kept = {}, {}
        for name in names:
            x = features[name]
            padding = (0, -x.shape[1] % size)
            filled[name] = ops.pad(x, ((0, 0), padding, (0, 0)))
            if padding[1] or name in mask:
                everywhere = ops.ones_like(x[..., 0], dtype="bool")
                there = ops.logical_and(ops.cast(mask.get(name, True), "bool"), everywhere)
                kept[name] = ops.pad(there, ((0, 0), padding))
        return self.joined(filled, kept, names)

    def _sources(self, name):
        """Returns whom a modality attends to."""
        if self.scope == "self":
            return [name]
        return [other for other in self.names if other != name]

    def _total(self, shapes, names):
        """Returns the number of positions of all `names`, or `None` where it is unknown."""
        positions = [shapes[name][1] for name in names]
        return None if None in positions else sum(positions)

    def _make_block(self, name):
        return NonLocalBlock(**self._options(), name=name, dtype=self.dtype_policy)

    def _options(self):
        return {
            "form": self.form,
            "heads": self.heads,
            "inner_width": self.inner_width,
            "scale": self.scale,
            "symmetric": self.symmetric,
            "subsample": self.subsample,
            "normalization": self.normalization,
            "chunk": self.chunk,
        }

    def compute_output_spec(self, features, mask=None, return_attention=False, training=None):
        outputs = {
            name: keras.KerasTensor(features[name].shape, dtype=self.compute_dtype)
            for name in self.names
        }
        if not return_attention:
            return outputs
        next(iter(self.blocks.values())).check_whole()
        attention = {}
        for name in self.names:
            sources = self.names if self.scope == JOINT else self._sources(name)
            keys = sum(-(-features[source].shape[1] // self.subsample) for source in sources)
            batch, positions, _ = features[name].shape
            shape = (batch, self.heads, positions, keys)
            attention[name] = keras.KerasTensor(shape, dtype="float32")
        return outputs, attention

    def get_config(self):
        return {**super().get_config(), "scope": self.scope, **self._options()}
