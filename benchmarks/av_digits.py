"""av_digits: is fusion worth it? Each modality alone and both, by each fusion, over seeds.

    python benchmarks/av_digits.py [--seeds 5] [--epochs 12]

The noise of the data is the same in every run; seeds change weights and the order of samples.
"""

import argparse
import dataclasses

from seeds import figures_of, repeat, report

from mm_keras.experiments.demo import EPOCHS, demo_experiment
from mm_keras.experiments.run import run_experiment

FUSIONS = ("concat", "gated", "low_rank", "cross_attention")
BOTH = ("audio", "image")
ACCURACY = "accuracy %"


def row(names, epochs, **options):
    def run(seed):
        experiment = demo_experiment(names, epochs, seed)
        experiment = dataclasses.replace(experiment, options=options)
        outcome = run_experiment(experiment, f"{'+'.join(names)} {options} seed {seed}")
        return figures_of(outcome)

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
    best = [max(pair) for pair in zip(*(rows[f"{m} only"][ACCURACY] for m in BOTH), strict=True)]
    margins = {
        row: [
            round(fused - single, 2)
            for fused, single in zip(rows[row][ACCURACY], best, strict=True)
        ]
        for row in rows
        if row.startswith("both")
    }
    report(
        "av_digits",
        rows,
        "av_digits at its default noise, test split of 397 pairs",
        seeds=options.seeds,
        lines=[
            {
                "system": "build_mcnn",
                "data": "av_digits",
                "figure": ACCURACY,
                "row": "both, cross_attention",
                "baseline": "image only",
                "published": "–",
            }
        ],
        epochs=options.epochs,
        points_over_the_better_single_modality=margins,
    )


if __name__ == "__main__":
    main()
