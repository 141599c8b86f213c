"""Pictures of results: each function returns a matplotlib figure."""

from mm_keras.plots.confusion_matrix import confusion_matrix
from mm_keras.plots.contact_sheet import contact_sheet
from mm_keras.plots.learning_curves import learning_curves
from mm_keras.plots.model_diagram import model_diagram
from mm_keras.plots.size_tradeoff import size_tradeoff

__all__ = [
    "confusion_matrix",
    "contact_sheet",
    "learning_curves",
    "model_diagram",
    "size_tradeoff",
]
