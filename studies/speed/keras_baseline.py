"""The published 3DGAN in Keras 3, as a process of its own.

``python keras_baseline.py train|generate THREADS`` prints a JSON line that says with what
it computes; then each line on stdin, the number of showers, makes it train one iteration, as published, or
generate these showers, and print how many seconds that took; what it must do only once it does before. The
environment variable KERAS_BACKEND chooses tensorflow, torch or jax.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np

from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.processes import start

__all__ = ["discriminator", "generator", "iteration", "sampling", "started"]

LATENT = 200
LOSSES = ("binary_crossentropy", "mean_absolute_percentage_error", "mean_absolute_percentage_error")
WEIGHTS = (6.0, 0.2, 0.1)
IMAGE_MEV = 20.0
"""What 1 in an image stands for."""
THRESHOLD_MEV = 0.001
LARGE = 1024
"""A batch that takes so much longer than to compile that its first turn may count."""


def generator(filters: int = 6) -> Any:
    """Build the published generator for 25x25x25: latent vector to image."""
    import keras
    from keras import layers

    def convolution(channels: int, kernel: tuple[int, int, int], padding: str = "valid") -> Any:
        return layers.Conv3D(channels, kernel, padding=padding, kernel_initializer="he_uniform")

    sequence = [
        layers.Dense(7 * 7 * 8 * 8),
        layers.Reshape((7, 7, 8, 8)),
        convolution(64, (6, 6, 8), "same"),
        layers.LeakyReLU(negative_slope=0.3),
        layers.BatchNormalization(),
        layers.UpSampling3D((2, 2, 2)),
        layers.ZeroPadding3D((2, 2, 0)),
        convolution(filters, (6, 5, 8)),
        layers.LeakyReLU(negative_slope=0.3),
        layers.BatchNormalization(),
        layers.UpSampling3D((2, 2, 3)),
        layers.ZeroPadding3D((1, 0, 3)),
        convolution(filters, (3, 3, 8)),
        layers.LeakyReLU(negative_slope=0.3),
        layers.Conv3D(1, (2, 2, 2), use_bias=False, kernel_initializer="glorot_normal"),
        layers.Activation("relu"),
    ]
    latent = keras.Input((LATENT,))
    return keras.Model(latent, keras.Sequential(sequence)(latent))


def discriminator(filters: int = 8) -> Any:
    """Build the published discriminator for 25x25x25: image to real or fake, energy, sum."""
    import keras
    from keras import layers

    image = keras.Input((25, 25, 25, 1))
    x = layers.Conv3D(32, 5, padding="same")(image)
    x = layers.LeakyReLU(negative_slope=0.3)(x)
    x = layers.Dropout(0.2)(x)
    for pad in (2, 2, 1):
        x = layers.ZeroPadding3D(pad)(x)
        x = layers.Conv3D(filters, 5)(x)
        x = layers.LeakyReLU(negative_slope=0.3)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Dropout(0.2)(x)
    features = layers.Flatten()(layers.AveragePooling3D(2)(x))
    real = layers.Dense(1, activation="sigmoid", name="generation")(features)
    energy = layers.Dense(1, name="auxiliary")(features)
    return keras.Model(image, [real, energy, keras.ops.sum(image, axis=(1, 2, 3))])


def iteration(batch: int) -> Callable[[], None]:
    """Return one training iteration: discriminator on real and on fake, two generator steps."""
    import keras

    def compiled(model: Any) -> Any:
        optimizer = keras.optimizers.RMSprop(1e-3, rho=0.9, epsilon=1e-7)
        model.compile(optimizer=optimizer, loss=list(LOSSES), loss_weights=list(WEIGHTS))
        return model

    image_maker, judge = generator(), compiled(discriminator())
    latent = keras.Input((LATENT,))
    judge.trainable = False
    both = compiled(keras.Model(latent, judge(image_maker(latent))))
    random = np.random.default_rng(1)
    image = random.exponential(0.01, (batch, 25, 25, 25, 1)).astype(np.float32)
    energy = random.uniform(0.1, 5, (batch, 1)).astype(np.float32)
    real, fake, total = np.ones_like(energy), np.zeros_like(energy), 2 * energy

    def noise() -> Any:
        return energy * random.standard_normal((batch, LATENT), dtype=np.float32)

    def train() -> None:
        made = np.asarray(image_maker.predict_on_batch(noise()))
        judge.trainable = True
        judge.train_on_batch(image, [real, energy, total])
        judge.train_on_batch(made, [fake, energy, total])
        judge.trainable = False
        for _ in range(2):
            both.train_on_batch(noise(), [real, energy, total])

    return train


def sampling(batch: int) -> Callable[[], None]:
    """Return the function that makes one batch, from energies to deposits in MeV."""
    image_maker = generator()
    random = np.random.default_rng(1)
    energy = np.linspace(0.1, 5, batch, dtype=np.float32)[:, None]

    def make() -> None:
        noise = energy * random.standard_normal((batch, LATENT), dtype=np.float32)
        deposits = np.asarray(image_maker.predict_on_batch(noise))[..., 0] * IMAGE_MEV
        deposits[deposits < THRESHOLD_MEV] = 0

    return make


def _serve(what: str, threads: int) -> None:
    # Keras and its backends print: results alone go to the pipe that stdout was.
    results = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    import keras

    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        backend = f"tensorflow {tf.__version__}"
    elif backend == "torch":
        import torch

        torch.set_num_threads(threads)
        backend = f"torch {torch.__version__}"
    print(json.dumps({"with": f"Keras {keras.__version__}, {backend}"}), file=results)
    ways: dict[int, Callable[[], None]] = {}
    for line in sys.stdin:
        batch = int(line)
        if batch not in ways:
            ways[batch] = {"train": iteration, "generate": sampling}[what](batch)
            if batch < LARGE:
                ways[batch]()  # compiles
        began = time.perf_counter()
        ways[batch]()
        print(time.perf_counter() - began, file=results)


@contextmanager
def started(what: str, threads: int) -> Iterator[tuple[str, Callable[[int], float]]]:
    """Start the baseline's process and yield its name, and a function from a number of showers to seconds.

    Raises CaloforgeError without Keras, and with its last word where it ends.
    """
    if find_spec("keras") is None:
        raise CaloforgeError(f"{what}: Keras is not installed: pip install keras")
    backend = os.environ.get("KERAS_BACKEND", "tensorflow" if find_spec("tensorflow") else "torch")
    command = [sys.executable, __file__, what, str(threads)]
    environment = {
        **os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_HOME": os.devnull,  # a keras.json may ask for other numbers, or another order of axes
    }  # fmt: skip
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile("w+") as complaints,
        start(
            command, env=environment, stdin=pipe, stdout=pipe, stderr=complaints, text=True
        ) as process,
    ):
        requests, answers = process.stdin, process.stdout
        assert requests is not None
        assert answers is not None

        def answer() -> str:
            line: str = answers.readline()
            if not line:
                complaints.seek(0)
                last = (complaints.read().strip().splitlines() or ["no reason given"])[-1]
                raise CaloforgeError(f"{what}: Keras with backend {backend} ended: {last}")
            return line

        def seconds(batch: int) -> float:
            requests.write(f"{batch}\n")
            requests.flush()
            return float(answer())

        try:
            yield json.loads(answer())["with"], seconds
        finally:
            process.kill()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
