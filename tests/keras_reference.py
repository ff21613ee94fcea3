"""Run as a process: the published networks built in Keras 3, with random weights, and what they give.

``python keras_reference.py FOLDER`` writes for each network NAME.weights.h5 (as Keras 3 saves it),
NAME.keras2.h5 (the same weights as Keras 2 did) and NAME.npz (inputs and outputs). A process of its
own, because the backend is chosen before Keras is imported.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np

os.environ["KERAS_BACKEND"] = "torch"

import keras
from keras import layers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # studies are no part of the package
from studies.speed.keras_baseline import discriminator, generator

BATCH = 2


def angle_generator() -> Any:
    sequence: list[Any] = [
        layers.Dense(9 * 9 * 8 * 8),
        layers.Reshape((9, 9, 8, 8)),
        layers.UpSampling3D((6, 6, 6)),
        layers.Conv3D(8, (6, 6, 8), activation="relu"),
        layers.BatchNormalization(epsilon=1e-6),
    ]
    for pad, kernel in [((2, 2, 1), (4, 4, 6))] * 3 + [((1, 1, 0), (3, 3, 5))]:
        sequence += [
            layers.ZeroPadding3D(pad),
            layers.Conv3D(6, kernel, activation="relu"),
            layers.BatchNormalization(epsilon=1e-6),
        ]
    sequence += [
        layers.ZeroPadding3D((1, 1, 0)),
        layers.Conv3D(6, (3, 3, 3), activation="relu"),
        layers.Conv3D(1, (2, 2, 2), activation="relu"),
    ]
    latent = keras.Input((256,))
    return keras.Model(latent, keras.Sequential(sequence)(latent))


def angle_discriminator() -> Any:
    image = keras.Input((51, 51, 25, 1))
    x = layers.Conv3D(16, (5, 6, 6), padding="same")(image)
    x = layers.Dropout(0.2)(layers.LeakyReLU(negative_slope=0.3)(x))
    for pad in ((0, 0, 1), (0, 0, 1), (0, 0, 0)):
        x = layers.Conv3D(8, (5, 6, 6))(layers.ZeroPadding3D(pad)(x))
        x = layers.BatchNormalization()(layers.LeakyReLU(negative_slope=0.3)(x))
        x = layers.Dropout(0.2)(x)
    features = layers.Flatten()(layers.AveragePooling3D(2)(x))
    inner = keras.Model(image, features)
    # As in the original: convolutions in an inner model, the heads outside.
    outer = keras.Input((51, 51, 25, 1))
    features = inner(outer)
    real = layers.Dense(1, activation="sigmoid", name="generation")(features)
    return keras.Model(outer, [real, layers.Dense(1, name="auxiliary")(features)])


def randomise(model: Any, random: np.random.Generator) -> None:
    """Return every weight a value that matters: biases, scales and running statistics too."""
    for weight in model.weights:
        shape = tuple(weight.shape)
        if "kernel" in weight.path:
            continue
        if "variance" in weight.path or "gamma" in weight.path:
            weight.assign(np.float32(random.uniform(0.5, 1.5, shape)))
        elif "seed" not in weight.path:
            weight.assign(np.float32(random.normal(0, 0.1, shape)))


def save_as_keras_2(model: Any, path: Path) -> None:
    """Write the layout of Keras 2: weight names per layer; an inner model's statistics come last."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.0.8"
        for layer in model.layers:
            group = file.create_group(layer.name)
            weights = [
                w for w in layer.trainable_weights + layer.non_trainable_weights if "seed" not in w.path
            ]
            names = ["/".join(w.path.split("/")[-2:]) + ":0" for w in weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, weights, strict=True):
                group[name] = keras.ops.convert_to_numpy(weight)


def main(folder: Path) -> None:
    # In double precision, so that what differs is the network and not the order of its sums; weights are
    # such that single precision holds them too.
    keras.config.set_floatx("float64")
    keras.utils.set_random_seed(5)
    random = np.random.default_rng(6)
    latent = random.standard_normal((BATCH, 200))
    latent_angle = random.standard_normal((1, 256))  # its convolutions take seconds a shower
    image = random.exponential(0.05, (BATCH, 25, 25, 25, 1))
    image_angle = random.exponential(0.05, (1, 51, 51, 25, 1))
    networks = {
        "generator": (generator(), latent),
        "generator-x16": (generator(16), latent),
        "discriminator": (discriminator(), image),
        "discriminator-x16": (discriminator(16), image),
        "angle-generator": (angle_generator(), latent_angle),
        "angle-discriminator": (angle_discriminator(), image_angle),
    }
    for name, (model, inputs) in networks.items():
        randomise(model, random)
        outputs = model.predict_on_batch(inputs)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        numbered = {f"output{index}": array.squeeze(-1) for index, array in enumerate(outputs)}
        np.savez(
            folder / f"{name}.npz",
            input=inputs.squeeze(-1) if inputs.ndim == 5 else inputs,
            parameters=model.count_params(),
            **numbered,
        )
        model.save_weights(folder / f"{name}.weights.h5")
        save_as_keras_2(model, folder / f"{name}.keras2.h5")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
