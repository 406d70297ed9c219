"""`python bench papers`: published results beside ours; one module a paper, of the shape that `row` fixes."""

NAMES = (
    "bengio1994",
    "hochreiter1997",
    "gers2000",
    "siegelmann1995",
    "karpathy2015",
    "makhzani2014",
    "compression",
    "ufldl",
    "convnetjs",
    "cs231n",
    "residual",
)
