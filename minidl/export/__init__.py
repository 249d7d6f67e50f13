"""Trained networks in other programs' formats, each as the bytes of a whole file."""
