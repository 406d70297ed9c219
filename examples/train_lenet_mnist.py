"""LeNet-5 learns handwritten digits: 98.9 % of MNIST's test images right after three epochs.

    python examples/train_lenet_mnist.py [--quick]

Writes lenet_curves.png, lenet_mistakes.png and the trained model, lenet5.safetensors, to ./figures.
"""

import numpy as np
from _common import arguments, handwritten_digits

import lamina as lm
from lamina import nn, optim, viz

RATE = 3e-3


def slow_down(run: lm.train.Run) -> None:
    """A third of the learning rate after each epoch."""
    run.optimizer.lr = RATE / 3 ** (run.epoch - 1)


def main() -> None:
    options = arguments("Train LeNet-5 on MNIST.")
    data = handwritten_digits()
    count = 2000 if options.quick else len(data.x_train)
    epochs = 1 if options.quick else 3

    lm.manual_seed(0)
    model = lm.models.lenet5()
    model.summary((28, 28, 1))
    history = lm.fit(
        model,
        data.x_train[:count],
        data.y_train[:count],
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.Adam(model.parameters(), RATE),
        epochs=epochs,
        batch_size=64,
        validation=(data.x_test, data.y_test),
        metrics=["accuracy"],
        callbacks=[
            lm.train.LambdaCallback(on_epoch_begin=slow_down),
            lm.train.Checkpoint(options.figures / "lenet5.safetensors"),
        ],
        seed=0,
    )
    history.plot(options.figures / "lenet_curves.png")

    loaded = lm.load(options.figures / "lenet5.safetensors")
    scores = loaded.predict(data.x_test, batch_size=256)
    guesses = scores.argmax(axis=1)
    wrong = np.flatnonzero(guesses != data.y_test)[:25]
    titles = [f"{data.y_test[i]}, read as {guesses[i]}" for i in wrong]
    viz.image_grid(data.x_test[wrong], titles=titles, path=options.figures / "lenet_mistakes.png")
    print(f"test accuracy {np.mean(guesses == data.y_test):.2%}; pictures in {options.figures}/")


if __name__ == "__main__":
    main()
