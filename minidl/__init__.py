"""minidl: distributed deep learning written to be read."""
