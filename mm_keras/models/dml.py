"""Deep mutual learning: several networks that are trained together and learn from each other."""

from collections.abc import Iterable, Mapping, Sequence

import keras

from mm_keras._checks import check_choice, check_int, check_number
from mm_keras.layers import Ensemble, MutualLearning, SequencePooling, get_fusion
from mm_keras.layers.mutual_learning import TARGETS, check_temperature
from mm_keras.layers.students import ACTIVATIONS
from mm_keras.modalities import Modality
from mm_keras.models.heads import Head, check_heads
from mm_keras.models.inputs import Groups, check_modalities, encode, enter
from mm_keras.models.parts import check_layers, dense_layers, drop_modalities


def build_dml(
    modalities: Mapping[str, Modality] | Iterable[tuple[str, Modality]],
    num_classes: int | Head | Mapping[str, int | Head],
    *,
    peers: int | None = None,
    share_peers: bool = False,
    mutual_weight: float = 1.0,
    temperature: float = 1.0,
    target: str = "peers",
    fusion: str | keras.layers.Layer | None = None,
    width: int = 128,
    pooling: str = "mean",
    hidden: Sequence[int] = (),
    dropout: float = 0.0,
    modality_dropout: float = 0.0,
    share_backbone: Groups = False,
    share_encoder: Groups = False,
    seed: int | None = None,
    name: str = "dml",
) -> keras.Model:
    """Builds several students, each of which learns from labels and from the others' predictions.

    `L_k = CE(y, p_k) + w/(K−1) Σ_{l≠k} T² KL(p_l ‖ p_k)`, no gradient to p_l. A student sees one
    modality, or, as one of `peers`, all of them. Any student, or the ensemble, is what ships:
    `mm.inference_model(model, outputs=["label"])`.

    Each student has a loss, and the ensemble none, which would train the students jointly through
    their mean: `mm.training.student_losses(model)`. `mm.data.labels_for_outputs` gives every output
    the labels of its head. Train with the callback `mm.training.MutualRampUp`: at full weight from
    the first step on, small networks collapse to the uniform prediction. Losses of `evaluate` are
    without the mutual term, which is added in training only. It needs no labels: samples of sample
    weight 0 let students learn from each other alone, which pays where labels are few.

    Args:
        modalities: `{name: spec}`. Inputs bear these names.
        num_classes: Number of classes of the ensemble output `"label"`; or a head; or several,
            `{"digit": 10, "tags": mm.MultiLabel(5)}`. The divergence is that of the classes'
            distributions, of a Bernoulli distribution for each label, or the squared difference.
        peers: `None`: a student for each modality, named after it; a number K: students `peer_1` to
            `peer_K`, each of which sees all modalities.
        share_peers: Whether peers have their encoders in common, so that only fusion and what
            follows is each one's own.
        mutual_weight: w, or where `MutualRampUp` ends.
        temperature: T of the divergence, above 0; with `mm.Regression` heads it must be 1.
        target: `"peers"`: the mean of the divergences from each peer; `"mean"`: the divergence
            from the peers' mean prediction. See `mm.layers.MutualLearning`.
        fusion: With `peers`: as in `mm.build_mcnn`; `None`: `"concat"`.
        width: Width D that every modality's features are projected to.
        pooling: `"mean"`, `"max"` or `"attention"`: how positions become one vector, where
            `fusion` is no layer.
        hidden: Widths of each student's dense layers with ReLU before its heads.
        dropout: Rate of dropout before each dense layer, in [0, 1).
        modality_dropout: With `peers`: rate at which a whole modality is dropped in training, for
            all peers alike, in [0, 1).
        share_backbone: Groups of modalities that share one backbone; `True`: all of them.
        share_encoder: Groups that share backbone and projection; `True`: all of them.
        seed: Of dropout.
        name: Of the model.

    Returns:
        A `keras.Model` from `{name: input}` to, for one head, `{"<student>": (B, C), …,
        "label": (B, C)}`, the last one being the ensemble: the mean probability of the students
        that are present. For several heads each has `"<student>_<head>"` and `"<head>"`.

    Raises:
        ValueError: For arguments that don't fit, before a graph is built.
        TypeError: For arguments of the wrong type.

    Example:

    >>> import mm_keras as mm
    >>> model = mm.build_dml({"image": mm.Features(8), "audio": mm.Features(6)}, num_classes=10)
    >>> sorted(model.output)
    ['audio', 'image', 'label']
    >>> import numpy as np
    >>> import tensorflow as tf
    >>> x = {"image": np.zeros((32, 8)), "audio": np.zeros((32, 6))}
    >>> train = tf.data.Dataset.from_tensor_slices((x, np.arange(32) % 10)).batch(16)
    >>> losses = mm.training.student_losses(model)
    >>> model.compile("adam", losses, metrics={"label": "accuracy"}, jit_compile=False)
    >>> history = model.fit(
    ...     mm.data.labels_for_outputs(train, model),
    ...     epochs=2,
    ...     verbose=0,
    ...     callbacks=[mm.training.MutualRampUp(warmup=1, rampup=1)],
    ... )
    >>> sorted(history.history)
    ['audio_loss', 'image_loss', 'label_accuracy', 'loss']
    >>> student = mm.inference_model(model, outputs=["image"])  # what ships: one of them, or all

    Reference: Zhang et al., Deep Mutual Learning, 2018.
    """
    modalities = check_modalities(modalities)
    students = _check_students(modalities, peers, share_peers, fusion, modality_dropout)
    heads = check_heads(num_classes, [*modalities, *students])
    _check_outputs(students, heads)
    check_number("mutual_weight", mutual_weight)
    check_choice("target", target, TARGETS)
    for head in heads.values():
        check_choice("num_classes.activation", _activation(head), ACTIVATIONS)
        check_temperature(temperature, _activation(head))
    check_layers(width, hidden, dropout)
    fuse = get_fusion(fusion or "concat", pooling)

    sharing = {"share_backbone": share_backbone, "share_encoder": share_encoder}
    if peers is None:
        inputs, features, present = encode(modalities, width, **sharing)
        vectors = {
            student: SequencePooling(pooling, name=f"{student}_pooling")(
                features[student], mask=present.get(student)
            )
            for student in students
        }
    else:
        present = {}  # every peer sees every sample
        drop = (modality_dropout, seed)
        inputs, vectors = _peers(students, modalities, width, share_peers, sharing, fuse, drop)

    for index, student in enumerate(students):
        own_seed = None if seed is None else seed + index
        vectors[student] = dense_layers(vectors[student], hidden, dropout, own_seed, f"{student}_")
    outputs = {}
    for head_name, head in heads.items():
        scores = {s: head.score(vectors[s], f"{s}_{head_name}") for s in students}
        mutual = MutualLearning(
            _activation(head), temperature, mutual_weight, target, name=f"{head_name}_mutual"
        )
        scores = mutual(scores, mask=present) if present else mutual(scores)
        predictions = {s: head.activate(scores[s], f"{s}_{head_name}") for s in students}
        ensemble = Ensemble(_activation(head), head.logits, name=head_name)
        outputs |= {
            student if len(heads) == 1 else f"{student}_{head_name}": prediction
            for student, prediction in predictions.items()
        }
        outputs[head_name] = (
            ensemble(predictions, mask=present) if present else ensemble(predictions)
        )
    return keras.Model(inputs, outputs, name=name)


def _check_students(modalities, peers, share_peers, fusion, modality_dropout) -> list[str]:
    """Returns the students' names after a check of what only goes with, or without, peers."""
    check_number("modality_dropout", modality_dropout, below=1.0)
    if peers is not None:
        check_int("peers", peers, minimum=2)
        models = [n for n, s in modalities.items() if _is_model(getattr(s, "backbone", None))]
        if models and not share_peers:
            raise ValueError(
                "`backbone` must be a name where every peer has a backbone of its own: a "
                "keras.Model has one set of weights. Name it, or pass share_peers=True. "
                f"Received a keras.Model for: {models}."
            )
        return [f"peer_{number}" for number in range(1, peers + 1)]
    if len(modalities) < 2:
        raise ValueError(
            "`modalities` must be two or more where each is a student: one has no peer to learn "
            f"from. Add a modality, or pass peers=2. Received: modalities={list(modalities)}."
        )
    received = {
        "share_peers": share_peers,
        "fusion": fusion,
        "modality_dropout": modality_dropout,
    }
    for argument, value in received.items():
        if value:
            raise ValueError(
                f"`{argument}` must be left out without `peers`: each student sees one modality. "
                f"Received: {argument}={value!r}, peers=None."
            )
    return list(modalities)


def _check_outputs(students: list[str], heads: Mapping[str, Head]) -> None:
    """Raises where a student's output would be named as a head is."""
    taken = sorted({f"{student}_{head}" for student in students for head in heads} & set(heads))
    if taken:
        raise ValueError(
            "`num_classes` must not name a head as a student's output is named. "
            f"Received: {taken}, which is a student's of another head."
        )


def _is_model(backbone) -> bool:
    return isinstance(backbone, keras.Model)


def _activation(head: Head) -> str:
    return head.activation or "linear"


def _peers(students, modalities, width, share_peers, sharing, fuse, drop):
    """Returns the inputs and `{student: (B, D)}` of peers that see all modalities."""
    encoded = entered = dropped = None
    vectors = {}
    for student in students:
        if encoded is None or not share_peers:
            prefix = "" if share_peers else f"{student}_"
            entered = entered or enter(modalities)
            encoded = encode(modalities, width, **sharing, entered=entered, prefix=prefix)
        if dropped is None:  # drawn once: peers learn from the same batch
            dropped = drop_modalities(encoded.features, encoded.masks, *drop)
        own = fuse.from_config({**fuse.get_config(), "name": f"{student}_fusion"})
        x = own(encoded.features, mask=dropped) if dropped else own(encoded.features)
        if len(x.shape) == 3:
            x = SequencePooling("mean", name=f"{student}_pooling")(x)
        vectors[student] = x
    return entered.inputs, vectors
