"""How fast it is on this machine: a step, its layers, and PyTorch beside them."""
