"""What a builder refuses, and what it says."""

import keras
import pytest

import mm_keras as mm

A, B = mm.Features(3), mm.Features(4)
IMAGE = mm.Image((8, 8, 1), backbone="SmallCNN")
SMALLER = mm.Image((4, 4, 1), backbone="SmallCNN")


def build(modalities=None, num_classes=2, **options):
    return mm.build_mcnn(modalities or {"a": A, "b": B}, num_classes, **options)


def one_model_for(names, **options):
    inputs = keras.Input((8, 8, 1))
    shared = mm.Image((8, 8, 1), backbone=keras.Model(inputs, keras.layers.Flatten()(inputs)))
    return build(dict.fromkeys(names, shared), **options)


GROUPS = r"must be a bool, or groups of two or more names out of \['a', 'b'\]"
ERRORS = [
    # modalities
    (lambda: mm.build_mcnn({}, 2), ValueError, "`modalities` must name at least one modality"),
    (lambda: mm.build_mcnn([], 2), ValueError, "`modalities` must name at least one modality"),
    (
        lambda: mm.build_mcnn(A, 2),
        TypeError,
        "`modalities` must be {name: spec} or pairs.*Features",
    ),
    (lambda: mm.build_mcnn(None, 2), TypeError, "`modalities` must be {name: spec} or pairs.*None"),
    (lambda: mm.build_mcnn([A, B], 2), TypeError, "`modalities` must be {name: spec} or pairs"),
    (lambda: build({"a": 3}), TypeError, r"`modalities\['a'\]` must be one of .*'mm.Audio'.*int"),
    (lambda: build({"a": mm.Image}), TypeError, r"`modalities\['a'\]` must be one of"),
    (lambda: build({1: A}), TypeError, "must have strings as names. Received: 1 of type int"),
    (
        lambda: build([("a", A), ("a", B)]),
        ValueError,
        "names that differ, also when case is ignored. Received twice: 'a' and 'a'",
    ),
    (lambda: build({"a": A, "A": B}), ValueError, "Received twice: 'a' and 'A'"),
    *(
        (lambda n=n: build({n: A}), ValueError, "since a SavedModel signature takes no others")
        for n in ("", "my image", "my-image", "1st", "_a", "a/b", "größe", "a\n")
    ),
    (lambda: build({"a_present": A}), ValueError, "must not have names that end in '_present'"),
    # heads
    *(
        (lambda n=n: build(num_classes=n), ValueError, f"`num_classes`.*at least 1.*{n}")
        for n in (0, -1)
    ),
    *(
        (
            lambda n=n: build(num_classes=n),
            ValueError,
            r"`num_classes` must be at least 2.*mm\.MultiLabel\(1\).*1 class for",
        )
        for n in (1, {"x": 3, "y": 1}, mm.Classification(1))
    ),
    (lambda: build(num_classes=2.0), TypeError, "`num_classes` must be an integer.*2.0"),
    (lambda: build(num_classes=True), TypeError, "`num_classes` must be an integer.*True"),
    (lambda: build(num_classes="2"), TypeError, "`num_classes` must be an integer.*'2'"),
    (lambda: build(num_classes={}), ValueError, "`num_classes` must have at least one head"),
    (lambda: build(num_classes={"x": None}), TypeError, "`num_classes` must be an integer"),
    (lambda: build(num_classes={"x y": 2}), ValueError, "`num_classes` must have names of"),
    (lambda: build(num_classes={"x": 2, "X": 2}), ValueError, "twice: 'x' and 'X'"),
    (
        lambda: build(num_classes={"b": 2}),
        ValueError,
        r"must not name a head as a modality is named.*\['b'\]. Rename the modality",
    ),
    (lambda: build({"label": A}), ValueError, r"must not name a head as a modality.*\['label'\]"),
    (lambda: build(num_classes=mm.MultiLabel(0)), ValueError, "`units`.*at least 1"),
    # sizes and rates
    (lambda: build(width=0), ValueError, "`width`.*at least 1.*width=0"),
    (lambda: build(hidden=64), TypeError, "`hidden` must be a sequence of integers.*hidden=64"),
    (lambda: build(hidden="64"), TypeError, "`hidden` must be a sequence of integers"),
    (lambda: build(hidden=(64, 0)), ValueError, "`hidden`.*at least 1.*hidden=0"),
    (lambda: build(hidden=(64.0,)), TypeError, "`hidden` must be an integer.*64.0"),
    *(
        (lambda a=a, v=v: build(**{a: v}), ValueError, f"`{a}` must be at least 0.0 and below 1.0")
        for a in ("dropout", "modality_dropout")
        for v in (-0.1, 1.0, float("nan"))
    ),
    (lambda: build(dropout="0.1"), TypeError, "`dropout` must be a number"),
    (lambda: build(modality_dropout=None), TypeError, "`modality_dropout` must be a number"),
    # fusion
    (
        lambda: build(fusion="crossattention"),
        ValueError,
        r"`fusion` must be one of .*Did you mean 'cross_attention'\?.*fusion='crossattention'",
    ),
    (lambda: build(fusion=None), TypeError, "`fusion` must be one of"),
    (lambda: build(fusion=mm.layers.ConcatFusion), TypeError, r"mm\.layers\.GatedFusion\(\)"),
    (
        lambda: build(fusion=keras.layers.Dense(3)),
        TypeError,
        r"called with a dict \{name: \(B, N, D\)\}.*docs/extend\.md\)\. Received: fusion=<Dense",
    ),
    (lambda: build(pooling="average"), ValueError, r"one of \['mean', 'max', 'attention'\]"),
    # sharing
    *(
        (lambda a=a, g=g: build(**{a: g}), ValueError, f"`{a}` {GROUPS}")
        for a in ("share_backbone", "share_encoder")
        for g in ("ab", ["ab"], [("a",)], [("a", "c")], [("a", 1)], [3], 3, None, [[]])
    ),
    (
        lambda: build(share_encoder=[("a", "b")]),
        ValueError,
        "`share_encoder` must group modalities with the same options.*'a', which is.*'b',",
    ),
    (
        lambda: build({"a": IMAGE, "b": SMALLER}, share_backbone=True),
        ValueError,
        "`share_backbone` must group modalities with the same options",
    ),
    (
        lambda: build({"a": A, "b": A}, share_backbone=True),
        ValueError,
        "`share_backbone` must group modalities that have one backbone. Received: 'a'",
    ),
    (
        lambda: build(
            dict.fromkeys("ab", mm.Views(2, (8, 8, 1), backbone="SmallCNN", shared=False)),
            share_backbone=True,
        ),
        ValueError,
        "`share_backbone` must group modalities that have one backbone",
    ),
    (
        lambda: build(dict.fromkeys("abc", A), share_encoder=[("a", "b"), ("b", "c")]),
        ValueError,
        r"`share_encoder` must have each name once. Received more than once: \['b'\]",
    ),
    (
        lambda: build(dict.fromkeys("ab", A), share_encoder=[("a", "a")]),
        ValueError,
        r"each name once. Received more than once: \['a'\]",
    ),
    (
        lambda: build(
            dict.fromkeys("abc", IMAGE), share_encoder=[("a", "b")], share_backbone=[("b", "c")]
        ),
        ValueError,
        r"must not name the same modality.*Received in both: \['b'\]",
    ),
    (
        lambda: one_model_for("abc", share_encoder=[("a", "b")]),
        ValueError,
        r"group all of them together, or none. Received: \['a', 'b', 'c'\]",
    ),
    (
        lambda: one_model_for("abcd", share_backbone=[("a", "b"), ("c", "d")]),
        ValueError,
        "group all of them together, or none",
    ),
]


@pytest.mark.parametrize(
    ("call", "error", "message"), ERRORS, ids=[f"{i}-{e[-1]}" for i, e in enumerate(ERRORS)]
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_unknown_arguments_are_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'fussion'"):
        build(fussion="sum")


def test_options_are_keyword_only():
    with pytest.raises(TypeError, match="positional argument"):
        mm.build_mcnn({"a": A}, 2, "sum")


@pytest.mark.parametrize(("modality", "head"), [("fusion", "label"), ("a", "fusion")])
def test_names_that_a_layer_of_the_graph_has_already(modality, head):
    with pytest.raises(ValueError, match=f'name "{modality if head == "label" else head}" is used'):
        build({modality: A}, {head: 2})


@pytest.mark.parametrize(
    "builder", ["build_mcnn", "build_cmn", "build_dfn", "build_nasn", "build_dml", "build_afe"]
)
def test_no_builder_makes_a_softmax_of_one_class(builder):
    with pytest.raises(ValueError, match="`num_classes` must be at least 2: a softmax over one"):
        getattr(mm, builder)({"a": A, "b": B}, 1)
    with pytest.raises(ValueError, match="`num_classes` must be at least 2: a softmax over one"):
        mm.build_mvcnn({"v": mm.Views(2, (8, 8, 1), backbone="SmallCNN")}, 1)
