"""Many to many, of unequal lengths: one network reads a word to its end, another writes the answer.

    python examples/encoder_decoder.py [--quick]

The task: the letters in reverse, the dots left out: "a.bc." -> "cba". The state of the encoder after the last
symbol is all that the decoder gets. In training the decoder reads the right letters (teacher forcing); in use
it reads its own, until it writes the end. Writes encoder_decoder.png - how many symbols are right either
way, and the decoder's probabilities for one word - to ./figures. Source: Sutskever, Vinyals, Le 2014.
"""

import numpy as np
from _common import arguments
from matplotlib.figure import Figure
from tqdm import trange

import lamina as lm
from lamina import nn, optim

LETTERS, LONGEST = "abcde", 7
SYMBOLS = LETTERS + "."
END = START = len(SYMBOLS)  # the end of a word, and what the decoder reads first


def words(rng, n):
    """Tokens (n, LONGEST) and lengths (n,) of words, and answers (n, LONGEST + 1) that end in END."""
    x, lengths = rng.integers(0, len(SYMBOLS), (n, LONGEST)), rng.integers(1, LONGEST + 1, n)
    answers = np.full((n, LONGEST + 1), END)
    for row, (word, length) in enumerate(zip(x, lengths, strict=True)):
        answer = [token for token in word[:length][::-1] if SYMBOLS[token] != "."]
        answers[row, : len(answer)] = answer
    return x, lengths, answers


class Translator(nn.Module):
    def __init__(self):
        self.encoder, self.decoder = nn.GRU(len(SYMBOLS), 96), nn.GRU(len(SYMBOLS) + 1, 96)
        self.head = nn.Linear(96, len(SYMBOLS) + 1)

    def forward(self, x, lengths, answers):
        """Teacher forcing: the logits (N,T,7) of each symbol behind the right ones before."""
        _, state = self.encoder(x, lengths=lengths)
        before = np.pad(answers[:, :-1], ((0, 0), (1, 0)), constant_values=START)
        return self.head(self.decoder(before, state)[0])

    def write(self, x, lengths):
        """Free running: the probabilities (N,T,7) of each symbol behind those written before."""
        _, state = self.encoder(x, lengths=lengths)
        token, found = np.full((len(x), 1), START), []
        for _ in range(LONGEST + 1):
            y, state = self.decoder(token, state)
            found.append(lm.softmax(self.head(y)).data)
            token = found[-1].argmax(axis=2)
        return np.concatenate(found, axis=1)


def scores(found, answers):
    """The shares of symbols and of whole answers (N,T) that are right; nothing counts behind the end."""
    right, counted = found == answers, np.ones(answers.shape, bool)
    counted[:, 1:] = answers[:, :-1] != END
    return right[counted].mean(), (right | ~counted).all(axis=1).mean()


def main() -> None:
    options = arguments("Train an encoder and a decoder.")
    lm.manual_seed(0)
    rng = np.random.default_rng(0)
    model, loss, curve = Translator(), nn.CrossEntropyLoss(), []
    optimizer, steps = optim.Adam(model.parameters(), 0.003), 600 if options.quick else 2400
    x_new, lengths_new, right = words(rng, 500)
    for step in trange(steps + 1, disable=None):
        if step % (steps // 30) == 0:
            forced = model(x_new, lengths_new, right).data
            free = model.write(x_new, lengths_new)
            curve.append((step, *[scores(y.argmax(axis=2), right)[0] for y in (forced, free)]))
        x, lengths, answers = words(rng, 128)
        optimizer.zero_grad()
        loss(model(x, lengths, answers), answers).backward()
        optimizer.step()
    print(f"accuracy, whole answers to 500 new words {scores(free.argmax(axis=2), right)[1]:.1%}")

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, axes = figure.subplots(1, 2, width_ratios=(1.2, 1))
    at, forced, own = np.array(curve).T
    left.plot(at, forced, "--", color="#d55e00", label="the decoder reads the right ones (training)")
    left.plot(at, own, color="#0072b2", label="the decoder reads its own (use)")
    left.set(xlabel="training step", ylabel="right symbols", ylim=(0, 1.03))
    left.legend(loc="lower right")
    one, names = lengths_new.argmax(), [*SYMBOLS, "end"]
    chances = free[one, : np.argmax(right[one] == END) + 1]
    axes.imshow(chances.T, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set(title=f'"{"".join(SYMBOLS[token] for token in x_new[one])}" went in')
    axes.set(xlabel="what the decoder wrote", ylabel="probability of each symbol")
    axes.set_xticks(range(len(chances)), [names[token] for token in chances.argmax(axis=1)])
    axes.set_yticks(range(len(names)), names)
    figure.savefig(options.figures / "encoder_decoder.png", dpi=120)


if __name__ == "__main__":
    main()
