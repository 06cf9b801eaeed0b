"""The classic transfer job in Keras `fit`, run by ``bench_classic`` in an interpreter of its own.

``python peer_keras.py FOLDER``: photos in class folders. Answers on standard output, one line of
JSON each: first its start-up, then one epoch for every line ``epoch`` that it reads, until
``stop``. Needs only tensorflow-cpu and pillow.
"""

import json
import os
import sys
import time

BORN = time.perf_counter()
SIDE, BATCH = 224, 32


def clock() -> tuple[float, float]:
    """Wall clock and processor time of all threads, both since this process began, in seconds."""
    return time.perf_counter() - BORN, time.process_time()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")  # whatever Keras prints must not mix with the answers
    os.dup2(2, 1)

    def answer(**facts: object) -> None:
        answers.write(json.dumps(facts) + "\n")
        answers.flush()

    # Read when these are imported.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    import keras
    import tensorflow

    keras.utils.set_random_seed(0)
    photos = keras.utils.image_dataset_from_directory(
        sys.argv[1], image_size=(SIDE, SIDE), batch_size=BATCH, seed=0
    )
    classes = len(photos.class_names)
    # Generous to the peer: decoding runs ahead of the network.
    photos = photos.prefetch(tensorflow.data.AUTOTUNE)

    network = keras.applications.VGG16(
        include_top=False, weights=None, pooling="avg", input_shape=(SIDE, SIDE, 3)
    )
    network.trainable = False
    pixels = keras.Input((SIDE, SIDE, 3))
    hidden = network(keras.applications.vgg16.preprocess_input(pixels), training=False)
    hidden = keras.layers.Dense(1024, activation="relu")(hidden)
    hidden = keras.layers.Dropout(0.5)(hidden)
    model = keras.Model(pixels, keras.layers.Dense(classes, activation="softmax")(hidden))
    model.compile(
        keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(photos.take(1), verbose=0)  # traces and warms up; the epochs are free of it
    wall, cpu = clock()
    answer(wall=wall, cpu=cpu, tensorflow=tensorflow.__version__, keras=keras.__version__)

    for line in sys.stdin:
        if line.strip() != "epoch":
            break
        before = clock()
        history = model.fit(photos, epochs=1, verbose=0).history
        wall, cpu = (b - a for a, b in zip(before, clock()))
        answer(wall=wall, cpu=cpu, accuracy=float(history["accuracy"][-1]))


if __name__ == "__main__":
    main()
