"""Tensors only: distributions, networks, flows, the joint model and the training loop."""
