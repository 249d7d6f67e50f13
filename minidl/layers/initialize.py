"""Random starting weights, named after those who worked out their scale.

A unit's output keeps its variance through the layers if the weights' variance is one over the
number of inputs (fan-in); a ReLU, which drops half of it, needs twice that.
"""

import numpy as np


def he_normal(weight: np.ndarray, fan_in: float, generator: np.random.Generator) -> None:
    """Fill ``weight`` in place: normal, variance 2 / fan_in. For layers before a ReLU.

    Source: K. He et al., Delving Deep into Rectifiers (ICCV 2015), section 2.2.
    """
    weight[...] = generator.standard_normal(weight.shape) * np.sqrt(2 / fan_in)


def glorot_uniform(
    weight: np.ndarray, fan_in: int, fan_out: int, generator: np.random.Generator
) -> None:
    """Fill ``weight`` in place: uniform in +-sqrt(6 / (fan_in + fan_out)). For linear outputs.

    Source: X. Glorot and Y. Bengio, Understanding the difficulty of training deep feedforward
    neural networks (AISTATS 2010), equation 16.
    """
    limit = np.sqrt(6 / (fan_in + fan_out))
    weight[...] = generator.uniform(-limit, limit, weight.shape)
