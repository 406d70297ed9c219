"""How modules show in notebooks: a table of the layers."""

from typing import Any

from lamina.nn.summary import Summary, layers_of, summarize


def table(module: Any) -> str | None:
    """The layers with their parameters; volumes and multiply-adds too, once `summary` was told the input.

    None for a layer: its text says as much.
    """
    from html import escape  # slow to import, and only needed here

    layers = layers_of(module)
    if "" in layers:
        return None
    title, found = f"<b>{escape(type(module).__name__)}</b>", _summary(module)
    if found is None:
        title += ": <code>summary(input_shape)</code> adds the volumes"
        texts, head = 2, ["", "layer", "parameters"]
        rows = [[name, repr(layer), f"{layer.count_parameters():,}"] for name, layer in layers.items()]
        total = ["", "total", f"{module.count_parameters():,}"]
    else:
        texts, head = 3, ["", "layer", "volume", "parameters", "multiply-adds"]
        rows = [
            [row.name, repr(layers[row.name]), row.volume, f"{row.parameters:,}", f"{row.multiply_adds:,}"]
            for row in found.rows
        ]
        total = ["", "total", "", f"{found.parameters:,}", f"{found.multiply_adds:,}"]
    lines = [_line("th", head, texts), *(_line("td", row, texts) for row in rows), _line("th", total, texts)]
    caption = f'<caption style="text-align:left; caption-side:top">{title}</caption>'
    return "\n".join(['<table style="border-collapse:collapse">', caption, *lines, "</table>"])


def _summary(module: Any) -> Summary | None:
    """That of the input which `summary` was told; None if it was not, or the module takes it no longer."""
    if module._input_shape is None:
        return None
    try:
        return summarize(module, module._input_shape)
    except Exception:  # whatever a forward of your own raises: a table must come
        return None


def _line(tag: str, cells: list[str], texts: int) -> str:
    """A row of the table: so many texts, then numbers."""
    from html import escape  # slow to import, and only needed here

    style = "padding:2px 10px; border-bottom:1px solid #8884; text-align:"
    sides = ["left"] * texts + ["right"] * (len(cells) - texts)
    inside = (
        f'<{tag} style="{style}{side}">{escape(cell)}</{tag}>'
        for cell, side in zip(cells, sides, strict=True)
    )
    return f"<tr>{''.join(inside)}</tr>"
