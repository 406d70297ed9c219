"""One to many: the number of a tune goes in, its notes come out, each fed back for the next.

    python examples/one_to_many.py [--quick]

Three old tunes open with 15 notes each. In training the network reads the tune's number, then the right notes
(teacher forcing), and names each next one. In use it gets the number alone and reads its own notes. The note
before is not enough to know the next - after E comes D, E, F or C - so the state must know the place.
Writes one_to_many.png, the notes written and played, to ./figures.
"""

import numpy as np
from _common import arguments
from matplotlib.figure import Figure
from tqdm import trange

import lamina as lm
from lamina import nn, optim

NOTES = "CDEFGA"
TUNES = {
    "Ode to Joy": "EEFGGFEDCCDEEDD",
    "Twinkle, twinkle": "CCGGAAGFFEEDDCG",
    "Brother John": "CDECCDECEFGEFGC",
}


class Player(nn.Module):
    """Tokens -> logits of the next note, and the state. The first token is a tune, the others are notes."""

    def __init__(self):
        self.recurrent = nn.GRU(len(NOTES) + len(TUNES), 32)
        self.head = nn.Linear(32, len(NOTES))

    def forward(self, tokens, state=None):
        y, state = self.recurrent(tokens, state)
        return self.head(y), state


def play(model, tune, length):
    """The tune's number alone goes in; from then on the network hears itself."""
    token, state, notes = len(NOTES) + tune, None, []
    with lm.no_grad():
        for _ in range(length):
            logits, state = model(np.array([[token]]), state)
            token = int(logits.data[0, 0].argmax())
            notes.append(token)
    return notes


def main() -> None:
    options = arguments("Train a network to play three tunes.")
    lm.manual_seed(0)
    model = Player()
    optimizer, loss = optim.Adam(model.parameters(), 0.01), nn.CrossEntropyLoss()
    score = np.array([[NOTES.index(note) for note in tune] for tune in TUNES.values()])
    numbers = len(NOTES) + np.arange(len(TUNES))
    x = np.concatenate([numbers[:, None], score[:, :-1]], axis=1)  # the number, then each note but the last
    for _ in trange(150 if options.quick else 300, disable=None):
        optimizer.zero_grad()
        loss(model(x)[0], score).backward()
        optimizer.step()

    played = np.array([play(model, tune, score.shape[1]) for tune in range(len(TUNES))])
    followers = [score[:, 1:][score[:, :-1] == note] for note in range(len(NOTES))]
    known = sum(np.bincount(after).max() for after in followers if len(after)) / score[:, 1:].size
    print(f"accuracy of the notes played {np.mean(played == score):.1%} (by the note before: {known:.1%})")

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    axes = figure.subplots(1, len(TUNES), sharey=True)
    steps = np.arange(1, score.shape[1] + 1)
    for ax, name, right, heard in zip(axes, TUNES, score, played, strict=True):
        for notes, style in (
            (right, {"marker": "s", "s": 90, "facecolors": "none", "edgecolors": "0.4", "label": "written"}),
            (heard, {"marker": "o", "s": 28, "color": "#0072b2", "label": "played"}),
        ):
            ax.scatter(steps, notes, **style)
        ax.set(title=name, xlabel="step", xticks=steps[::2], yticks=range(len(NOTES)), yticklabels=NOTES)
        ax.grid(axis="y", color="0.9")
        ax.set_axisbelow(True)
    axes[0].set_ylabel("note")
    axes[0].legend(loc="upper right")
    figure.savefig(options.figures / "one_to_many.png", dpi=120)


if __name__ == "__main__":
    main()
