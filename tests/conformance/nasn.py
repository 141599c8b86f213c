"""Non-local networks."""

import numpy as np

import mm_keras as mm
from mm_keras import layers
from mm_keras.layers.affinity import FORMS
from tests.conformance.cases import (
    HEADS,
    HEADS_LABELS,
    HEADS_LOSSES,
    LABELS,
    MIXTURE,
    MIXTURE_BATCH,
    POSITIONS,
    PRESENT,
    VECTORS,
    VECTORS_BATCH,
    BuilderCase,
    LayerCase,
    floats,
)

# The scale of what a block adds is zero at the start, and nothing behind it has a gradient.
BEHIND = ("theta", "phi", "/g/", "/w/", "score")
# Cancelled by the softmax.
CANCELLED = ("phi/bias",)


def layer_cases():
    """The blocks in all forms: whole and in chunks, as the identity and off it."""
    a, b = floats(4, 3, 8), floats(4, 5, 8, seed=1)
    masks = {"mask": POSITIONS, "keys_mask": floats(4, 5, seed=2) > 0.3}
    for form in FORMS:
        for suffix, options in (
            ("", {}),
            ("-chunked", {"chunk": 2, "heads": 2}),
            ("-sampled", {"subsample": 2, "normalization": "batch"}),
        ):
            # Without the residual the scale starts at one: every weight has a gradient.
            yield LayerCase(
                f"NonLocalBlock-{form}{suffix}",
                lambda form=form, options=options: layers.NonLocalBlock(
                    form, residual=False, **{"normalization": "layer", **options}
                ),
                a,
                {"keys": b, **masks},
                {"may_lack_gradient": CANCELLED},
            )
    yield LayerCase(
        "NonLocalBlock",
        layers.NonLocalBlock,
        a,
        {"return_attention": True, "mask": POSITIONS},
        {"may_lack_gradient": BEHIND},
    )
    yield LayerCase(
        "NonLocalBlock-symmetric",
        lambda: layers.NonLocalBlock("concatenation", symmetric=True, normalization=None),
        a,
        options={"may_lack_gradient": (*BEHIND[:3], "score")},
    )
    features = {name: floats(4, 3, 8, seed=index) for index, name in enumerate("abc")}
    mask = {"mask": {"a": PRESENT, "c": POSITIONS}}
    yield LayerCase("JointFusion", lambda: layers.JointFusion("attention"), features, mask)
    for scope, options in (
        ("cross", {"heads": 2, "subsample": 2, "normalization": "layer"}),
        ("joint", {"form": "concatenation", "subsample": 2}),
        ("self", {"form": "dot_product", "normalization": None, "chunk": 2}),
    ):
        whole = {} if "chunk" in options else {"return_attention": True}
        yield LayerCase(
            f"CrossModalNonLocal-{scope}",
            lambda scope=scope, options=options: layers.CrossModalNonLocal(scope, **options),
            features,
            {**mask, **whole},
            {"may_lack_gradient": BEHIND},
        )


def builder_cases():
    yield BuilderCase(
        "build_nasn",
        lambda: mm.build_nasn(VECTORS, 3, width=8),
        VECTORS_BATCH,
        LABELS,
        {"may_lack_gradient": BEHIND},
    )
    yield BuilderCase(
        "build_nasn-attention",
        lambda: mm.build_nasn(
            {
                "lips": mm.Video(3, (8, 8, 1), backbone="SmallCNN", temporal=None, optional=True),
                "extra": mm.Features((4, 6)),
            },
            3,
            scope="cross",
            form="concatenation",
            heads=2,
            subsample=2,
            normalization="batch",
            blocks=2,
            attention=True,
            fusion="joint",
            width=8,
            modality_dropout=0.3,
            auxiliary_heads=True,
            seed=0,
        ),
        {
            "lips": np.random.default_rng(1).uniform(0, 255, (3, 3, 8, 8, 1)).astype("float32"),
            "lips_present": np.array([[True], [False], [True]]),
            "extra": floats(3, 4, 6),
        },
        LABELS | {"lips_label": LABELS["label"], "extra_label": LABELS["label"]},
        {"jit_compile": False, "may_lack_gradient": BEHIND},
    )
    yield BuilderCase(
        "build_nasn-heads",
        lambda: mm.build_nasn(
            MIXTURE,
            HEADS,
            form="gaussian",
            chunk=3,
            positions=False,
            fusion="gated",
            width=8,
            hidden=(6,),
            dropout=0.1,
        ),
        MIXTURE_BATCH,
        HEADS_LABELS,
        {"loss": HEADS_LOSSES, "may_lack_gradient": BEHIND},
    )
