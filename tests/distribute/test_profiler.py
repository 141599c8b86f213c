"""The trace for TensorBoard."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm


@pytest.mark.parametrize("fit", [keras.Model.fit, mm.distribute.fit])
def test_the_trace_is_of_the_steps_asked_for(tmp_path, fit):
    seen = []

    class Spy(mm.distribute.Profiler):
        def _stop(self):
            seen.append(self._done)
            super()._stop()

    model = mm.build_mcnn({"a": mm.Features(4)}, 2, width=4)
    model.compile("adam", mm.losses.classification(), jit_compile=False)
    data = tf.data.Dataset.from_tensor_slices(({"a": np.ones((40, 4), "float32")}, np.ones(40)))
    fit(model, data.batch(8), epochs=3, verbose=0, callbacks=[Spy(tmp_path / "p", 4, 6)])
    assert seen == [10]
    (trace,) = tmp_path.glob("p/plugins/profile/*/*.xplane.pb")
    assert b"IteratorGetNext" in trace.read_bytes()


def test_a_short_training_is_traced_to_its_end(tmp_path):
    model = mm.build_mcnn({"a": mm.Features(4)}, 2, width=4)
    model.compile("adam", mm.losses.classification(), jit_compile=False)
    profiler = mm.distribute.Profiler(tmp_path, 1, 99)
    model.fit({"a": np.ones((40, 4))}, np.ones(40), batch_size=8, verbose=0, callbacks=[profiler])
    assert len(list(tmp_path.rglob("*.xplane.pb"))) == 1


@pytest.mark.parametrize("options", [{"first": -1}, {"steps": 0}])
def test_errors(tmp_path, options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` must be"):
        mm.distribute.Profiler(tmp_path, **options)
