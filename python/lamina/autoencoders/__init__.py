"""Autoencoders: networks that learn to give back what they are given, and so what it is made of.

model = lm.autoencoders.KSparseAutoencoder(784, 1000, k=25, start=100, alpha=3)
lm.fit(model, x, epochs=20)
codes, pictures = model.encoder.predict(x), model.reconstruct(x)
"""

from lamina.autoencoders.base import Autoencoder
from lamina.autoencoders.contractive import ContractiveAutoencoder
from lamina.autoencoders.convolutional import ConvAutoencoder, Unpool
from lamina.autoencoders.dense import DenseAutoencoder
from lamina.autoencoders.k_sparse import KSparseAutoencoder
from lamina.autoencoders.noise import GaussianNoise, MaskingNoise
from lamina.autoencoders.sparse import SparseAutoencoder, kl_divergence
from lamina.autoencoders.stacked import StackedAutoencoder
from lamina.autoencoders.tied import Tied

__all__ = [
    "Autoencoder",
    "ContractiveAutoencoder",
    "ConvAutoencoder",
    "DenseAutoencoder",
    "GaussianNoise",
    "KSparseAutoencoder",
    "MaskingNoise",
    "SparseAutoencoder",
    "StackedAutoencoder",
    "Tied",
    "Unpool",
    "kl_divergence",
]
