"""Generic checks that every layer, loss and builder of this package passes; use them on yours.

```python
import numpy as np
from mm_keras import testing

testing.check_layer(MyLayer(8), np.random.rand(4, 5, 16).astype("float32"))
```

Each check raises an `AssertionError` that names the layer, the weight or the output at fault. A
class that is checked must be registered with Keras, since it is saved and loaded. Only NumPy and
Keras are imported, so the checks run under JAX and PyTorch too.
"""

from mm_keras.testing.builder import check_builder
from mm_keras.testing.fusion import check_fusion
from mm_keras.testing.gradients import gradients
from mm_keras.testing.layer import check_layer, check_serialization
from mm_keras.testing.loss import check_loss

__all__ = [
    "check_builder",
    "check_fusion",
    "check_layer",
    "check_loss",
    "check_serialization",
    "gradients",
]
