"""How fast minidl is, beside its own definitions and beside PyTorch: `python -m benchmarks`."""
