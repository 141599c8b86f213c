"""Experiments in YAML: read whole, or refused with the nearest valid key."""

import keras
import pytest

import mm_keras as mm
from mm_keras.experiments import read_config
from mm_keras.experiments.optimizers import OPTIMIZERS, read_optimizer

GOOD = """
modalities:
  image: {type: Image, shape: [8, 8, 1], backbone: SmallCNN}
  audio: {type: Audio, samples: 6400, sample_rate: 8000, optional: true}
builder:
  name: build_mcnn
  num_classes: {digit: 10, tags: {type: MultiLabel, units: 3}}
  fusion: gated
dataset:
  name: av_digits
  labels: {digit: label}
  batch_size: 16
  options: {audio_snr_db: 0}
compile: {optimizer: adam, learning_rate: 0.001, metrics: [accuracy]}
fit: {epochs: 3}
seed: 7
output: runs/x
"""


def write(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_everything(tmp_path):
    experiment = read_config(write(tmp_path, GOOD))
    assert experiment.modalities["image"] == mm.Image((8, 8, 1), backbone="SmallCNN")
    assert experiment.modalities["audio"] == mm.Audio(6400, 8000, optional=True)
    assert experiment.num_classes == {"digit": 10, "tags": mm.MultiLabel(3)}
    assert experiment.options == {"fusion": "gated"}
    assert experiment.source.options == {"audio_snr_db": 0}
    assert experiment.source.labels == {"digit": "label"}
    assert experiment.splits.batch_size == 16
    assert (experiment.learning_rate, experiment.epochs, experiment.seed) == (0.001, 3, 7)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("modalities:", "modalties:", "Did you mean 'modalities'.*'modalties'"),
        ("backbone:", "backbon:", "`modalities.image`.*Did you mean 'backbone'.*'backbon'"),
        ("type: Image", "type: Imaje", "`modalities.image.type`.*Did you mean 'Image'"),
        (
            "samples: 6400, ",
            "width: 6400, ",
            r"`modalities.audio` must have the keys \['samples'\], which are missing.*'width'",
        ),
        ("samples: 6400, ", "", r"`modalities.audio` must have the keys \['samples'\]"),
        ("name: build_mcnn", "name: build_mccn", "`builder.name`.*Did you mean 'build_mcnn'"),
        ("fusion: gated", "fuson: gated", "`builder`.*Did you mean 'fusion'"),
        ("units: 3", "unit: 3", "`builder.num_classes.tags`.*Did you mean 'units'"),
        ("batch_size: 16", "batchsize: 16", "`dataset`.*Did you mean 'batch_size'"),
        ("batch_size: 16", "batch_size: 0", "`batch_size` must be an integer of at least 1"),
        ("learning_rate:", "learningrate:", "`compile`.*Did you mean 'learning_rate'"),
        ("epochs: 3", "epoch: 3", "`fit`.*Did you mean 'epochs'"),
        ("epochs: 3", "epochs: three", "`fit.epochs` must be an integer"),
        ("optimizer: adam", "optimizer: rmsprob", "`compile.optimizer`.*Did you mean 'rmsprop'"),
        ("adam,", "{name: rmsprob},", "`compile.optimizer.name`.*Did you mean 'rmsprop'"),
        ("adam,", "{name: adam, clip_norm: 1},", "`compile.optimizer`.*Did you mean 'clipnorm'"),
        ("adam,", "{name: adam, clipnorm: 0},", "`compile.optimizer.clipnorm` must be above 0"),
        ("adam,", "{name: adam, clipnorm: a},", "`compile.optimizer.clipnorm` must be a number"),
        ("adam,", "{name: adam, amsgrad: 1},", "`compile.optimizer.amsgrad` must be a bool"),
        ("adam,", "{name: adam, beta_1: x},", "`compile.optimizer.beta_1` must be a number"),
        (
            "adam,",
            "{name: adam, learning_rate: 1.0},",
            "must not have a learning_rate.*1.0 and 0.0",
        ),
        (
            "adam,",
            "{name: adam, clipnorm: 1, clipvalue: 1},",
            "`compile.optimizer` must be what keras.optimizers.Adam takes.*Only one of",
        ),
        (
            "adam,",
            "{name: adam, gradient_accumulation_steps: 1},",
            "`compile.optimizer.gradient_accumulation_steps` must be an integer of at least 2",
        ),
        ("0.001,", "1e-3,", "`compile.learning_rate` must be a number"),
        ("0.001,", "0.001, jit_compile: yes!,", "`compile.jit_compile` must be one of"),
        (
            "0.001,",
            "0.001, steps_per_execution: 0,",
            "`compile.steps_per_execution` must be an int",
        ),
        (
            "seed: 7",
            "precision: mixd_float16",
            "`precision` must be one of.*Did you mean 'mixed_float16'",
        ),
        ("seed: 7", "seed: 7\nseed: 8", r"line 2: each key must be given once.*\['seed'\]"),
        ("  image: {", "  image: [", "must be YAML"),
        ("shape: [8, 8, 1]", "shape: [8, 8]", r"`shape` must be \(H, W, C\)"),
    ],
)
def test_refuses_with_a_reason_that_names_the_file(tmp_path, old, new, message):
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ValueError, match=f"(?s)config.yaml.*{message}"):
        read_config(path)


def test_reads_how_to_compile(tmp_path):
    plain = read_config(write(tmp_path, GOOD))
    assert (plain.precision, plain.jit_compile, plain.steps_per_execution) == ("float32", "auto", 1)
    options = "{name: AdamW, clipnorm: 1, weight_decay: 0.01, gradient_accumulation_steps: 4}"
    text = GOOD.replace("adam,", f"{options}, jit_compile: true, steps_per_execution: 3,")
    found = read_config(write(tmp_path, text + "precision: mixed_bfloat16\n"))
    assert (found.precision, found.jit_compile) == ("mixed_bfloat16", True)
    assert found.steps_per_execution == 3
    described = text.replace("learning_rate: 0.001, ", "").replace("clipnorm", "learning_rate")
    assert read_config(write(tmp_path, described)).learning_rate == 1
    optimizer = keras.optimizers.get(found.optimizer)
    assert type(optimizer) is keras.optimizers.AdamW
    assert (optimizer.clipnorm, optimizer.gradient_accumulation_steps) == (1, 4)
    assert optimizer.weight_decay == 0.01


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimizer_of_keras_can_be_named(kind):
    assert read_optimizer("x", kind) == kind
    made = keras.optimizers.get(read_optimizer("x", {"name": kind, "global_clipnorm": 2.0}))
    assert type(made) is OPTIMIZERS[kind]
    assert made.global_clipnorm == 2.0
    whole = keras.optimizers.serialize(made)
    assert read_optimizer("x", whole) == whole


@pytest.mark.parametrize("key", ["modalities", "builder", "dataset"])
def test_missing_sections(tmp_path, key):
    lines = GOOD.splitlines()
    start = lines.index(f"{key}:")
    stop = next(n for n in range(start + 1, len(lines)) if not lines[n].startswith(" "))
    path = write(tmp_path, "\n".join(lines[:start] + lines[stop:]))
    with pytest.raises(ValueError, match=f"must have the key '{key}'"):
        read_config(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"existing YAML file.*absent\.yaml"):
        read_config(tmp_path / "absent.yaml")
