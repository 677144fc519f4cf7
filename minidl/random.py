"""Randomness that can be repeated: one default generator, seeded by `manual_seed`, or one's own for `generator=`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.axes import as_int


class Generator:
    """A stream of random numbers (PCG64; M. O'Neill, 2014) that can be seeded, saved and set back.

    >>> import minidl
    >>> g = minidl.Generator().manual_seed(0)
    >>> state = g.get_state()
    >>> a = minidl.rand(3, generator=g)
    >>> g.set_state(state)
    >>> bool((a == minidl.rand(3, generator=g)).all())
    True
    """

    def __init__(self) -> None:
        self.numpy = np.random.Generator(np.random.PCG64())

    def manual_seed(self, seed: int) -> Generator:
        """Start over from a seed, a non-negative int; returns the generator."""
        seed = as_int("manual_seed", "seed", seed)
        if seed < 0:
            raise ValueError(f"manual_seed: the seed must not be negative, but is {seed}")
        self.numpy = np.random.Generator(np.random.PCG64(seed))
        self._seed = seed
        return self

    def seed(self) -> int:
        """Start over from a seed that the operating system gives, and return it."""
        seed = int(np.random.SeedSequence().entropy) % 2**63
        self.manual_seed(seed)
        return seed

    def get_state(self) -> dict[str, Any]:
        """The state, of plain ints and strings, so that it can be written as JSON."""
        return self.numpy.bit_generator.state

    def set_state(self, state: dict[str, Any]) -> None:
        """Go back to a state that `get_state` returned; ValueError for anything else."""
        try:
            self.numpy.bit_generator.state = state
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"set_state: not the state of a generator ({error})") from None


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator: everything random that follows is repeatable to the bit."""
    return default_generator.manual_seed(seed)


def stream(generator: Generator | None) -> np.random.Generator:
    """The NumPy generator behind a `generator=` argument; the default one for None."""
    if generator is None:
        return default_generator.numpy
    if not isinstance(generator, Generator):
        raise TypeError(f"generator must be a minidl.Generator, not {type(generator).__name__}")
    return generator.numpy
