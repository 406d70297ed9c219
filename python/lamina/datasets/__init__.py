"""Data sets, each loaded by one function; every file is checked before it is used.

Looked up in $LAMINA_DATA, then among the system's own copies (share/datasets), then in the cache
($LAMINA_CACHE, else $XDG_CACHE_HOME/lamina), and downloaded only then.
"""

from lamina.datasets.cifar import cifar10
from lamina.datasets.idx import read_idx
from lamina.datasets.images import Images, digits, fashion_mnist, mnist
from lamina.datasets.photographs import photographs
from lamina.datasets.texts import Text, encode, text

__all__ = [
    "Images",
    "Text",
    "cifar10",
    "digits",
    "encode",
    "fashion_mnist",
    "mnist",
    "photographs",
    "read_idx",
    "text",
]
