"""Examples of YAML files, for the command's help."""

EXAMPLE = """\
example of a CONFIG.yaml:

  modalities:
    image: {type: Image, shape: [8, 8, 1], backbone: SmallCNN}
    audio: {type: Audio, samples: 6400, sample_rate: 8000}
  builder: {name: build_mcnn, num_classes: 10, fusion: gated}
  dataset:
    name: av_digits          # any name that TFDS knows
    batch_size: 32
    options: {audio_snr_db: 0}
  compile: {optimizer: adam, learning_rate: 0.001, metrics: [accuracy]}
  fit: {epochs: 10, callbacks: {EarlyStopping: {patience: 3}}}   # checkpoint_steps: 500
  seed: 0
  output: runs/digits

on an accelerator, and for batches larger than its memory:

  precision: mixed_bfloat16  # or mixed_float16, whose loss is then scaled
  compile: {optimizer: {name: adam, clipnorm: 1.0, gradient_accumulation_steps: 4},
            jit_compile: auto, steps_per_execution: 8}   # auto: XLA, but not on CPU

the folder examples/ has one for each builder. Other kinds of dataset; paths start from the current
folder:

  dataset: {type: table, path: shop.csv, inputs: {image: photo}, labels: kind,
            fractions: {train: 0.7, validation: 0.15, test: 0.15}, group: product}
  dataset: {type: table, path: {train: a.csv, validation: b.csv, test: c.csv}, labels: kind}
  dataset: {type: folder, path: pets, resize: crop, on_error: drop}    # pets/train/cat/1.jpg
  dataset: {type: arrays, path: data.npz, inputs: {image: x}, labels: y, split: part}
  dataset: {type: tfrecord, path: shards}                              # shards/train/schema.json

what is trained on can be changed, in this order:

  dataset:
    balance: oversample      # or {method: undersample, target: [1, 1, 2]}
    augment: {image: [RandomFlip, {RandomRotation: {factor: 0.05}}], audio: {TimeShift: {}}}
    drop_modalities: 0.2     # or {audio: 0.2}: of optional modalities
    class_weights: {beta: 0.999}
    mix: {method: mixup, alpha: 0.2}
"""

COMPARISON = """\
CONFIG.yaml is one for `mm-keras train`, and says besides what is compared:

  builder: {num_classes: 10, width: 32}     # for single modalities, and in common
  compare:
    seeds: 5                 # or folds: 5, where there are few samples: each is tested once
    systems:
      concat: {name: build_mcnn}
      gated: {name: build_mcnn, fusion: gated}
      dynamic: {name: build_dfn, auxiliary_heads: true}
"""
