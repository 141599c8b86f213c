"""Running on `tf.distribute`: several devices, several machines, one program."""

from mm_keras.distribute.evaluate import evaluate
from mm_keras.distribute.fit import fit
from mm_keras.distribute.launch import launch
from mm_keras.distribute.predict import predict
from mm_keras.distribute.profiler import Profiler
from mm_keras.distribute.strategy import cluster_workers, strategy
from mm_keras.distribute.workers import WorkerLost, Workers

__all__ = [
    "Profiler",
    "WorkerLost",
    "Workers",
    "cluster_workers",
    "evaluate",
    "fit",
    "launch",
    "predict",
    "strategy",
]
