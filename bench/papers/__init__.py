"""Published results beside ours: one module a paper, each with a TITLE and a function `run`."""
