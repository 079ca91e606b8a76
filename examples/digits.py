"""Classify handwritten digits: early stopping on one set of rows, figures from another, and where the network errs.

python examples/digits.py; with Matplotlib installed it also draws the digits it got wrong, to digits.png.
"""

import numpy as np

import fastjac as fj


def confusion_matrix(truth: np.ndarray, guess: np.ndarray, classes: int) -> np.ndarray:
    """How often rows of class i were taken for class j."""
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (truth, guess), 1)
    return counts


def draw(images: np.ndarray, truth: np.ndarray, guess: np.ndarray) -> None:
    """The images with what they are and what they were taken for, where Matplotlib is installed."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, places = pyplot.subplots(1, len(images), figsize=(1.2 * len(images), 1.8), squeeze=False)
    for place, image, right, wrong in zip(places[0], images, truth, guess, strict=True):
        place.imshow(image.reshape(8, 8), cmap="gray_r")
        place.set_title(f"{right}, not {wrong}", fontsize=8)
        place.set_axis_off()
    figure.savefig("digits.png", dpi=120)
    pyplot.close(figure)
    print("drawn: digits.png")


def main() -> None:
    X, y, X_test, y_test = fj.datasets.split(*fj.datasets.digits(), test=0.2, seed=0)
    # early stopping looks at the validation rows, so they say nothing new in the end: the test rows do
    X, y, X_val, y_val = fj.datasets.split(X, y, test=0.2, seed=1)
    print(f"{len(X)} rows to train on, {len(X_val)} to stop by, {len(X_test)} to test with")

    net = fj.Sequential(
        [fj.Dense(64, 128, activation="relu"), fj.Dropout(0.2), fj.Dense(128, 64, activation="relu"), fj.Dense(64, 10)],
        seed=0,
    )
    stopping = fj.EarlyStopping(monitor="val_loss", patience=10)
    history = net.fit(
        X,
        y,
        loss="softmax_cross_entropy",
        optimizer=fj.AdamW(learning_rate=2e-3),
        epochs=200,
        batch_size=32,
        validation_data=(X_val, y_val),
        callbacks=[stopping],
    )
    print(f"stopped after {len(history['loss'])} epochs; the best was epoch {stopping.best_epoch}")

    scores = net.evaluate(X_test, y_test, loss="softmax_cross_entropy")
    print(f"test accuracy {scores['accuracy']:.4f}, loss {scores['loss']:.4f}")

    guess = net.predict(X_test).argmax(axis=1)
    counts = confusion_matrix(y_test, guess, 10)
    print("\nrows are the digits, columns what they were taken for")
    print("     " + "".join(f"{k:4}" for k in range(10)))
    for digit, row in enumerate(counts):
        print(f"{digit:4} " + "".join(f"{count or '.':>4}" for count in row))

    wrong = np.flatnonzero(guess != y_test)
    print(f"\n{len(wrong)} of {len(y_test)} are wrong")
    if len(wrong):
        draw(X_test[wrong], y_test[wrong], guess[wrong])


if __name__ == "__main__":
    main()
