"""av_digits: is fusion worth it? Each modality alone and both, by each fusion, over seeds.

    python benchmarks/av_digits.py [--seeds 5] [--epochs 12]

The noise of the data is the same in every run; seeds change weights and the order of samples.
"""

import argparse
import dataclasses

from seeds import repeat, report

from mm_keras.experiments.demo import EPOCHS, demo_experiment
from mm_keras.experiments.run import run_experiment

FUSIONS = ("concat", "gated", "low_rank", "cross_attention")
BOTH = ("audio", "image")


def row(names, epochs, **options):
    def run(seed):
        experiment = demo_experiment(names, epochs, seed)
        experiment = dataclasses.replace(experiment, options=options)
        return run_experiment(experiment, f"{'+'.join(names)} {options} seed {seed}")

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args()
    runs = {
        "image only": row(("image",), options.epochs),
        "audio only": row(("audio",), options.epochs),
        **{f"both, {f}": row(BOTH, options.epochs, fusion=f) for f in FUSIONS},
    }
    rows = repeat(runs, range(options.seeds))
    single = [
        max(rows[f"{m} only"]["accuracy"][s] for m in ("image", "audio"))
        for s in range(options.seeds)
    ]
    margin = [
        round(b - s, 4) for b, s in zip(rows["both, concat"]["accuracy"], single, strict=True)
    ]
    report(
        "av_digits",
        rows,
        "av_digits at its default noise, test split of 397 pairs",
        epochs=options.epochs,
        seeds=options.seeds,
        margin_of_concat_over_better_single=margin,
    )


if __name__ == "__main__":
    main()
