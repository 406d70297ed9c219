"""Pictures: grids of images and filters. Needs matplotlib only when a function is called."""

from lamina.viz.grid import filter_grid, image_grid, tile

__all__ = ["filter_grid", "image_grid", "tile"]
