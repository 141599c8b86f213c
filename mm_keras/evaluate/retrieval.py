"""How well queries find what belongs to them."""

from collections.abc import Sequence

import numpy as np

from mm_keras._checks import check_sizes


def retrieval_metrics(
    queries: np.ndarray,
    gallery: np.ndarray,
    relevant: np.ndarray | tuple[np.ndarray, np.ndarray] | None = None,
    at: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """Ranks the gallery for each query by the dot product, and measures where the sought stand.

    Of equally similar items those that are not sought count as first: embeddings that are all the
    same find nothing.

    Args:
        queries: `(Q, E)`; of length 1 for the cosine similarity, as a model's `<name>_embedding`.
        gallery: `(G, E)`.
        relevant: What each query seeks: `None`: the item of its own row; `(ids, ids)` of queries,
            `(Q,)`, and gallery, `(G,)`: items of its id; or `(Q, G)` bool. Queries that seek
            nothing in the gallery are left out.
        at: The K of R@K.

    Returns:
        `{"R@1": …, "R@5": …, "R@10": …, "median rank": …, "mAP": …}`: the share of queries with
        something sought among the first K; the median of the rank, from 1, at which the first
        stands; the mean over queries of the average precision.

    Raises:
        ValueError: If shapes don't fit, an embedding is not finite, or no query seeks anything.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> mm.evaluate.retrieval_metrics(np.eye(4), np.eye(4))["R@1"]
    1.0
    >>> mm.evaluate.retrieval_metrics(np.ones((4, 2)), np.ones((4, 2)))["median rank"]
    4.0

    Reference: Manning et al., Introduction to Information Retrieval, 2008, chapter 8.
    """
    queries, gallery = np.asarray(queries, "float64"), np.asarray(gallery, "float64")
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            "`queries` and `gallery` must be (Q, E) and (G, E). "
            f"Received shapes: {queries.shape}, {gallery.shape}."
        )
    if not (np.isfinite(queries).all() and np.isfinite(gallery).all()):
        raise ValueError("`queries` and `gallery` must be finite. Received: NaN or infinity.")
    check_sizes("at", at)
    sought = _sought(relevant, len(queries), len(gallery))
    asking = sought.any(axis=1)
    if not asking.any():
        raise ValueError("`relevant` must have an item for some query. Received: none for any.")
    sought = sought[asking]
    scores = queries[asking] @ gallery.T
    order = np.lexsort((sought, -scores), axis=1)  # by score; of equal ones the unsought first
    found = np.take_along_axis(sought, order, axis=1)
    first = found.argmax(axis=1) + 1
    precision = found.cumsum(axis=1) / np.arange(1, found.shape[1] + 1)
    average = (precision * found).sum(axis=1) / found.sum(axis=1)
    return {
        **{f"R@{k}": float((first <= k).mean()) for k in at},
        "median rank": float(np.median(first)),
        "mAP": float(average.mean()),
    }


def _sought(relevant, queries: int, gallery: int) -> np.ndarray:
    """Returns `(Q, G)` bool."""
    if relevant is None:
        if queries != gallery:
            raise ValueError(
                "`relevant` must be given where queries and gallery differ in number. "
                f"Received: {queries} queries, {gallery} items."
            )
        return np.eye(queries, dtype="bool")
    if isinstance(relevant, tuple):
        ids = [np.asarray(part) for part in relevant]
        if [part.shape for part in ids] != [(queries,), (gallery,)]:
            raise ValueError(
                f"`relevant` must be ids of {queries} queries and of {gallery} items. "
                f"Received shapes: {[part.shape for part in ids]}."
            )
        return ids[0][:, None] == ids[1][None]
    relevant = np.asarray(relevant)
    if relevant.shape != (queries, gallery):
        raise ValueError(
            f"`relevant` must be ({queries}, {gallery}), or a tuple of ids. "
            f"Received shape: {relevant.shape}."
        )
    return relevant.astype("bool")
