"""The kernels: loops over plain arrays, compiled by Numba on first use. Arrays in, arrays out; no Tensor, no graph."""
