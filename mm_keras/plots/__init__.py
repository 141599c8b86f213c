"""Pictures of results: each function returns a matplotlib figure."""

from mm_keras.plots.attention_matrix import attention_matrix
from mm_keras.plots.comparison_chart import comparison_chart
from mm_keras.plots.confusion_matrix import confusion_matrix
from mm_keras.plots.contact_sheet import contact_sheet
from mm_keras.plots.contributions_chart import contributions_chart
from mm_keras.plots.gates_chart import gates_chart
from mm_keras.plots.image_heatmap import image_heatmap
from mm_keras.plots.learning_curves import learning_curves
from mm_keras.plots.model_diagram import model_diagram
from mm_keras.plots.presence_chart import presence_chart
from mm_keras.plots.reliability_diagram import reliability_diagram
from mm_keras.plots.robustness_chart import robustness_chart
from mm_keras.plots.size_tradeoff import size_tradeoff
from mm_keras.plots.spectrogram_heatmap import spectrogram_heatmap
from mm_keras.plots.word_heatmap import word_heatmap

__all__ = [
    "attention_matrix",
    "comparison_chart",
    "confusion_matrix",
    "contact_sheet",
    "contributions_chart",
    "gates_chart",
    "image_heatmap",
    "learning_curves",
    "model_diagram",
    "presence_chart",
    "reliability_diagram",
    "robustness_chart",
    "size_tradeoff",
    "spectrogram_heatmap",
    "word_heatmap",
]
