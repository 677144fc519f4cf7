"""Products of matrices and, by Einstein's convention, of anything."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from minidl.axes import as_int, norm_axis
from minidl.ops.samples import normal
from minidl.ops.shapes import in_one_dtype
from minidl.ops.table import Sample, operation, require_tensor
from minidl.primitives import Einsum
from minidl.tensor import Tensor, apply

__all__ = ["bmm", "dot", "einsum", "matmul", "mm", "mv", "outer", "tensordot"]


def products(*shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> object:
    """Samples of two Tensors of the shapes."""

    def samples(rng: np.random.Generator) -> Iterator[Sample]:
        for a, b in shapes:
            yield Sample(normal(rng, *a), normal(rng, *b))

    return samples


@operation(
    samples=products(
        ((2, 3), (3, 4)), ((3,), (3, 4)), ((2, 3), (3,)), ((3,), (3,)), ((2, 1, 2, 3), (4, 3, 2)), ((0, 3), (3, 2))
    )
)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product: (..., m, k) and (..., k, n) give (..., m, n); vectors and broadcasting as in NumPy.

    >>> import minidl
    >>> minidl.matmul(minidl.tensor([[1.0, 2.0]]), minidl.tensor([[3.0], [4.0]]))
    tensor([[11.]])
    """
    require_tensor("matmul", input=input, other=other)
    return input @ other


def of_rank(name: str, rank_a: int, rank_b: int, **operands: Tensor) -> None:
    require_tensor(name, **operands)
    a, b = operands.values()
    if (a.ndim, b.ndim) != (rank_a, rank_b):
        raise ValueError(f"{name}: takes {rank_a} and {rank_b} dimensions, not shapes {a.shape} and {b.shape}")


@operation(samples=products(((2, 3), (3, 4))))
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices (m, k) and (k, n)."""
    of_rank("mm", 2, 2, input=input, mat2=mat2)
    return input @ mat2


@operation(samples=products(((2, 2, 3), (2, 3, 1))))
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of matrices one by one: (B, m, k) and (B, k, n) give (B, m, n)."""
    of_rank("bmm", 3, 3, input=input, mat2=mat2)
    if input.shape[0] != mat2.shape[0]:
        raise ValueError(f"bmm: batches differ: shapes {input.shape} and {mat2.shape}")
    return input @ mat2


@operation(samples=products(((2, 3), (3,))))
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix (m, k) and a vector (k,)."""
    of_rank("mv", 2, 1, input=input, vec=vec)
    return input @ vec


@operation(samples=products(((4,), (4,))))
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The inner product Σ aᵢ bᵢ of two vectors."""
    of_rank("dot", 1, 1, input=input, tensor=tensor)
    return input @ tensor


@operation(samples=products(((3,), (2,))))
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The outer product aᵢ bⱼ of two vectors."""
    require_tensor("outer", input=input, vec2=vec2)
    return input.outer(vec2)


def tensordot_samples(rng: np.random.Generator) -> Iterator[Sample]:
    yield Sample(normal(rng, 2, 3, 4), normal(rng, 3, 4, 2))
    yield Sample(normal(rng, 2, 3), normal(rng, 4), dims=0)
    yield Sample(normal(rng, 2, 3, 4), normal(rng, 4, 5, 2), dims=([0, -1], [2, 0]))


@operation(samples=tensordot_samples)
def tensordot(a: Tensor, b: Tensor, dims: int | Sequence[Sequence[int]] = 2) -> Tensor:
    """Σ over the products along `dims`: the last dims of a with the first of b, or two lists of dims, paired."""
    require_tensor("tensordot", a=a, b=b)
    if isinstance(dims, Sequence):
        if len(dims) != 2:
            raise ValueError(f"tensordot: dims must be an int or two lists, not {dims}")
        left, right = ([d] if isinstance(d, int) else list(d) for d in dims)
    else:
        n = as_int("tensordot", "dims", dims)
        if not 0 <= n <= min(a.ndim, b.ndim):
            raise ValueError(f"tensordot: dims={n} is out of range for shapes {a.shape} and {b.shape}")
        left, right = list(range(a.ndim - n, a.ndim)), list(range(n))
    left, right = [norm_axis("tensordot", d, a.ndim) for d in left], [norm_axis("tensordot", d, b.ndim) for d in right]
    if len(set(left)) != len(set(right)) or len(left) != len(set(left)) or len(right) != len(set(right)):
        raise ValueError(f"tensordot: {dims} does not pair each dim with one other")
    letters = iter(string.ascii_letters)
    term_a = [next(letters) for _ in range(a.ndim)]
    pairs = dict(zip(right, left, strict=True))
    term_b = [term_a[pairs[i]] if i in pairs else next(letters) for i in range(b.ndim)]
    rest = [c for c in term_a if c not in term_b] + [c for c in term_b if c not in term_a]
    return einsum(f"{''.join(term_a)},{''.join(term_b)}->{''.join(rest)}", a, b)


# Einstein's summation


def einsum_samples(rng: np.random.Generator) -> Iterator[Sample]:
    yield Sample("ij,jk->ik", normal(rng, 2, 3), normal(rng, 3, 4))
    yield Sample("bhid, bhjd", normal(rng, 2, 1, 3, 2), normal(rng, 2, 1, 4, 2))
    yield Sample("...ij,...jk->...ik", normal(rng, 2, 1, 2, 3), normal(rng, 3, 3, 2))
    yield Sample("ii->i", normal(rng, 3, 3))
    yield Sample("iji,Bj->Bi", normal(rng, 2, 3, 2), normal(rng, 4, 3))
    yield Sample("ij->", normal(rng, 2, 3))
    yield Sample("a,b,c", normal(rng, 2), normal(rng, 3), normal(rng, 1))


@operation(samples=einsum_samples)
def einsum(equation: str, *operands: Tensor) -> Tensor:
    """Name the operands' dimensions with letters: out = Σ, over every letter not in the result, of the product.

    The result's letters stand behind `->`; left out, they are those that occur once, in alphabetical order. `...`
    stands for any dimensions, which broadcast. A letter twice in one term takes the diagonal.

    >>> import minidl
    >>> a = minidl.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> minidl.einsum("ij,ij->i", a, a), minidl.einsum("ii", a)
    (tensor([ 5., 25.]), tensor(5.))

    Raises:
        ValueError: an equation that does not go with the operands' shapes.
    """
    if not isinstance(equation, str):
        raise TypeError(f"einsum: the equation comes first, as a string, not {type(equation).__name__}")
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    require_tensor("einsum", **{f"operand {i}": x for i, x in enumerate(operands)})
    named = f"(equation {equation!r}, shapes {', '.join(str(x.shape) for x in operands)})"
    terms, result = explicit_terms(equation, operands, named)
    operands = in_one_dtype("einsum", operands)
    for i, x in enumerate(operands):
        terms[i], operands[i] = take_diagonals(terms[i], x, named)
    lengths: dict[str, int] = {}
    for term, x in zip(terms, operands, strict=True):
        for c, n in zip(term, x.shape, strict=True):
            if lengths.get(c, 1) == 1:
                lengths[c] = n
            elif n not in (1, lengths[c]):
                raise ValueError(f"einsum: the letter {c!r} stands for the lengths {lengths[c]} and {n} {named}")
    for i, (term, x) in enumerate(zip(terms, operands, strict=True)):
        # A dimension of length 1 that broadcasts is as good as none.
        stays = [c for c, n in zip(term, x.shape, strict=True) if n == lengths[c]]
        if len(stays) < len(term):
            terms[i], operands[i] = "".join(stays), x.reshape([lengths[c] for c in stays])
    return apply(Einsum(terms=tuple(terms), result=result), *operands)


def explicit_terms(equation: str, operands: Sequence[Tensor], named: str) -> tuple[list[str], str]:
    """The letters of each operand and of the result, with letters also for what `...` stands for."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands) or not operands:
        raise ValueError(f"einsum: {len(terms)} terms for {len(operands)} operands {named}")
    for term in [*terms, result]:
        letters = term.replace("...", "", 1)
        if letters and not (letters.isascii() and letters.isalpha()):
            raise ValueError(f"einsum: {term!r} must consist of letters and at most one '...' {named}")
    free = [c for c in string.ascii_letters if c not in equation]
    most = 0
    for i, (term, x) in enumerate(zip(terms, operands, strict=True)):
        more = x.ndim - len(term.replace("...", ""))
        if more < 0 or (more and "..." not in term):
            raise ValueError(f"einsum: {term!r} names another number of dimensions than shape {x.shape} has {named}")
        most = max(most, more)
        terms[i] = term.replace("...", "".join(free[:more][::-1]))  # aligned at the right, as in broadcasting
    dots = "".join(free[:most][::-1])
    if not arrow:
        counts = Counter(c for term in left.split(",") for c in term.replace("...", ""))
        result = "..." + "".join(sorted(c for c, n in counts.items() if n == 1))
    result = result.replace("...", dots)
    for c in result:
        if result.count(c) > 1 or not any(c in term for term in terms):
            raise ValueError(f"einsum: the result's letter {c!r} must occur once there, and in some operand {named}")
    return terms, result


def take_diagonals(term: str, x: Tensor, named: str) -> tuple[str, Tensor]:
    """Take the diagonal wherever a letter occurs twice in a term, until none does."""
    for c in sorted(set(term)):
        while term.count(c) > 1:
            i, j = term.index(c), term.rindex(c)
            if x.shape[i] != x.shape[j]:
                raise ValueError(f"einsum: {c!r} stands for the lengths {x.shape[i]} and {x.shape[j]} {named}")
            along = np.arange(x.shape[i])
            x = x.movedim((i, j), (-2, -1))[..., along, along]
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + c
    return term, x
