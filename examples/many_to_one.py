"""Many to one: a review goes in, one verdict comes out. The last state represents the whole sequence.

    python examples/many_to_one.py [--quick]

Generated reviews of 3 to 14 words. A word praises or blames, "not" turns the next such word around, and the
verdict is the sum. A linear model that only counts words cannot know what "not" belongs to; a GRU that reads
from left to right can. The classifier sees nothing but the state after each review's last word. Writes
many_to_one.png, those states and the verdict after every word of three reviews, to ./figures.
"""

import numpy as np
from _common import arguments
from matplotlib.figure import Figure

import lamina as lm
from lamina import nn, optim

VALUE = {"superb": 2, "good": 1, "bad": -1, "awful": -2, "not": 0, "the": 0, "plot": 0, "is": 0, "and": 0}
WORDS = [*VALUE, "<end>"]
END, LONGEST = len(VALUE), 14
REVIEWS = ("the plot is not bad", "good and not superb and bad", "awful plot and not bad not awful")


def verdict(review):
    """The sum of the words' values, each turned around if a "not" waits for it."""
    total, sign = 0, 1
    for word in (WORDS[token] for token in review):
        sign = -sign if word == "not" else sign
        total += sign * VALUE[word]
        sign = sign if VALUE[word] == 0 else 1
    return total


def reviews(rng, n):
    """Tokens (n, LONGEST), END behind the last word, and verdicts (n,): 1 for good, 0 for bad."""
    x, totals = np.full((n, LONGEST), END), np.zeros(n)
    for row in range(n):
        while totals[row] == 0:
            review = rng.choice(END, rng.integers(3, LONGEST + 1), p=[0.1] * 4 + [0.24] + [0.09] * 4)
            totals[row] = verdict(review)
        x[row, : len(review)] = review
    return x, (totals > 0).astype(int)


class Judge(nn.Module):
    """Words (N,T) -> logits (N,2), from the state after each last word."""

    def __init__(self):
        self.recurrent = nn.GRU(len(WORDS), 32)
        self.readout = nn.Linear(32, 2)

    def forward(self, words):
        _, state = self.recurrent(words, lengths=(words.data != END).sum(axis=1))
        return self.readout(state[-1])


def draw_verdicts(axes, model):
    """What the network would say if each word were the last."""
    grid = np.full((len(REVIEWS), max(len(review.split()) for review in REVIEWS)), np.nan)
    for row, review in enumerate(REVIEWS):
        words = review.split()
        y, _ = model.recurrent(np.array([[WORDS.index(word) for word in words]]))
        grid[row, : len(words)] = lm.softmax(model.readout(y)).data[0, :, 1]
        for column, word in enumerate(words):
            good = grid[row, column]
            color = "white" if abs(good - 0.5) > 0.35 else "black"
            axes.text(column, row, f"{word}\n{good:.0%}", ha="center", va="center", color=color)
    axes.imshow(grid, cmap="RdBu", vmin=0, vmax=1, aspect="auto")
    axes.set(title="how good the review is, word by word", xticks=[], yticks=[])


def main() -> None:
    options = arguments("Train a network to judge reviews.")
    lm.manual_seed(0)
    rng = np.random.default_rng(0)
    judge, counting, loss = Judge(), nn.Linear(len(WORDS), 2), nn.CrossEntropyLoss()
    (x, labels), (x_new, labels_new), count = reviews(rng, 8000), reviews(rng, 1000), np.eye(len(WORDS))
    accuracy = []
    for model, known, new in ((judge, x, x_new), (counting, count[x].sum(axis=1), count[x_new].sum(axis=1))):
        optimizer, epochs = optim.Adam(model.parameters(), 0.01), 6 if options.quick else 20
        lm.fit(model, known, labels, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=64, seed=0)
        accuracy.append(np.mean(model.predict(new).argmax(axis=1) == labels_new))
    print(f"accuracy on 1,000 new reviews {accuracy[0]:.1%} (counting words: {accuracy[1]:.1%})")

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
    states = judge.recurrent(x_new, lengths=(x_new != END).sum(axis=1))[1].data[-1]
    states = states - states.mean(axis=0)
    plane = states @ np.linalg.svd(states, full_matrices=False)[2][:2].T
    for label, name, marker, color in ((0, "bad", "v", "#d55e00"), (1, "good", "^", "#0072b2")):
        left.scatter(*plane[labels_new == label].T, s=12, color=color, marker=marker, label=name)
    left.set(title="the last states of 1,000 reviews", xlabel="first principal axis", ylabel="second")
    left.legend(title="verdict", loc="center")
    draw_verdicts(right, judge)
    figure.savefig(options.figures / "many_to_one.png", dpi=120)


if __name__ == "__main__":
    main()
