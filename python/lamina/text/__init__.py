"""Models of text: vocabularies, contiguous batches, a network of characters, and the text that it writes."""

from lamina.text.model import CharModel, batches, perplexity
from lamina.text.vocabulary import Vocabulary
from lamina.text.writing import generate

__all__ = ["CharModel", "Vocabulary", "batches", "generate", "perplexity"]
