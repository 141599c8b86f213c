"""The table of outcomes that the command prints."""

from collections.abc import Sequence

from rich.table import Table

from mm_keras.experiments.outcome import Outcome


def outcome_table(outcomes: Sequence[Outcome], title: str) -> Table:
    """Returns a table of accuracy (or the first metric), size, time and latency."""
    metric = next((key for key in outcomes[0].test if "loss" not in key), "loss")
    table = Table(title=title)
    table.add_column("model")
    for column in (f"test {metric}", "parameters", "training s", "latency ms/sample"):
        table.add_column(column, justify="right")
    for outcome in outcomes:
        table.add_row(
            outcome.name,
            f"{outcome.test[metric]:.3f}",
            f"{outcome.parameters:,}",
            f"{outcome.seconds:.1f}",
            f"{outcome.latency_ms:.2f}",
        )
    return table
