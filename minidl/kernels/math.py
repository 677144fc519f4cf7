"""exp, log, tanh, sigmoid and erf that LLVM can vectorise.

The C library's functions are calls, one number at a time; a loop with one in it is not vectorised. These are only
arithmetic: no branch (both ways are computed, one is chosen), no table, no call. They take a float32 or a float64 and
are within 4 units in the last place of the true value, subnormal results, infinities and NaN included.

Each reduces its argument to a short interval and sums a series there. All series but one are Taylor's; they are cut
where the next term is below half a unit in the last place. That of erfc is a polynomial through the Chebyshev points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.kernels.jit import Choice, Intrinsic, helper

ROUNDED = frozenset({"contract"})  # no reassociation: (x + MAGIC) - MAGIC rounds x and must not become x


def typed(single: Any, double: Any = None) -> Choice:
    """Numbers in float32 and in float64 (the same, unless others are given)."""
    return Choice(np.array(single, np.float32), np.array(single if double is None else double, np.float64))


def polynomial(single: list[float], double: list[float]) -> Intrinsic:
    """c_0 + x · (c_1 + x · (c_2 + ...)), written out: a loop over coefficients would keep the loop around it scalar."""

    def plain(x: Any) -> Any:
        coefficients = [x.dtype.type(c) for c in (single if x.dtype == np.float32 else double)]
        total = coefficients[-1]
        for c in coefficients[-2::-1]:
            total = total * x + c
        return total

    def build(parts: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = context.get_value_type(signature.args[0])
            coefficients = single if signature.args[0] == parts.types.float32 else double
            constants = [
                parts.ir.Constant(kind, float(np.float32(c)) if coefficients is single else c) for c in coefficients
            ]
            total = constants[-1]
            for c in constants[-2::-1]:
                total = builder.fadd(builder.fmul(total, args[0], ("contract",)), c, ("contract",))
            return total

        def horner(typing, x):  # type: ignore[no-untyped-def]
            return x(x), emit

        return parts.intrinsic(horner)

    return Intrinsic(build, plain)


def series(term: Callable[[int], float], single: int, double: int) -> Intrinsic:
    """Σ_k term(k) · x^k, with as many terms as either type needs."""
    return polynomial([term(k) for k in range(single)], [term(k) for k in range(double)])


NUMBERS = typed([0.5, 1, 2, 0.25, 0])
HALF = typed([0.5, 1, 1.5])
# Added to a number below 2^22 (2^51), 1.5 · 2^23 (2^52) leaves no room for a fraction: the last bits are the integer.
MAGIC = typed([1.5 * 2**23], [1.5 * 2**52])
# 1 / ln 2, and ln 2 in two parts, the first so short that n times it is exact.
LN2 = typed(
    [1 / math.log(2), 0.693359375, -2.12194440054690583e-4],
    [1 / math.log(2), 0.6931471803691238, 1.9082149292705877e-10],
)
exp_series = series(lambda k: 1 / math.factorial(k + 2), 7, 13)
LIMITS = typed([-104, 89], [-746, 710])  # beyond, exp is 0 or infinite
LAST = typed([-87], [-708])  # below, exp is not a normal number
log_series = series(lambda k: 2 / (2 * k + 3), 4, 10)
SMALLEST = typed([2.0**-126, 2.0**24, 24, np.inf], [2.0**-1022, 2.0**54, 54, np.inf])  # normal number; and a way up
log1p_series = series(lambda k: 2 / (2 * k + 3), 7, 16)
erf_series = series(lambda k: 2 / math.sqrt(math.pi) * (-1) ** k / (math.factorial(k) * (2 * k + 1)), 11, 20)
# exp(x²) · erfc(x) in u = (x - a) / (x + a), for 1 <= x <= 4 and a = 2, or x <= 6 and a = 2.5, to 3e-10 and 3e-18.
erfc_series = polynomial(
    [
        0.2553956763,
        -0.4271858483,
        0.2416581941,
        -0.07897847315,
        0.003732908027,
        0.006993954025,
        -0.0008476555787,
        -0.0009395269022,
        4.987674193e-05,
    ],
    [
        0.2108063640611436,
        -0.3717367339489734,
        0.2517131932174494,
        -0.1250330523788247,
        0.039922539075574935,
        -0.003993701166223159,
        -0.002642365963784453,
        0.0008759154630794508,
        0.00022838036598153182,
        -0.00012887741536369735,
        -3.4182063549802165e-05,
        1.8617072081910595e-05,
        7.5513017799442535e-06,
        -2.3140931150942177e-06,
        -1.79706306540687e-06,
        1.2966926825389417e-07,
        3.3657006736237105e-07,
    ],
)
# exp(x²/2) · (1 - Φ(x)) in u = (x - 3.5) / (x + 3.5), for 0 <= x <= 14 or 39, to 5e-9 and 2e-17.
tail_series = polynomial(
    [
        0.1063451536,
        -0.1871396984,
        0.1258552524,
        -0.06163943367,
        0.01906563556,
        -0.001561351774,
        -0.001381591802,
        0.000389879098,
        0.0001339202236,
        -5.175657461e-05,
        -2.073153241e-05,
    ],
    [
        0.10634515363370545,
        -0.1871396987842453,
        0.12585525513453302,
        -0.0616394140860032,
        0.019065537330877468,
        -0.0015616590974952688,
        -0.0013807599954907474,
        0.0003920125861210894,
        0.00013166715049621312,
        -5.8517701389177385e-05,
        -2.037398493385032e-05,
        8.113709850090265e-06,
        4.327932192014531e-06,
        -8.364865808273792e-07,
        -9.738483529880012e-07,
        -4.4661703886677975e-08,
        1.9086750667186335e-07,
        6.220506548737337e-08,
        -2.4413476119507552e-08,
        -2.1718166064962957e-08,
        -8.015339875033679e-10,
        4.487374622110194e-09,
        1.1884283173192867e-09,
        -4.5274333556522125e-10,
        -1.938672432410762e-10,
    ],
)
TAIL = typed([3.5, 15, 1 / math.sqrt(2 * math.pi)], [3.5, 39, 1 / math.sqrt(2 * math.pi)])
ERFC_RANGE = typed([2, 4], [2.5, 6])
# (Φ(x) - ½) / x in x², for |x| <= 1.5, to 1e-9; and (1 - Φ(x))^(-1/16), from there on. Both for float32 alone.
centre_series = polynomial(
    [0.398942274, -0.0664902683, 0.00997301001, -0.00118614301, 0.00011410449, -8.62987907e-06, 3.99591186e-07], [0.0]
)
root_series = polynomial(
    [
        1.04515529,
        0.0493435992,
        0.0256990237,
        0.000740987044,
        0.0012529318,
        -0.000295186844,
        6.83244902e-05,
        -7.04160348e-06,
        4.06893606e-07,
    ],
    [0.0],
)


def llvm_choose(parts: Any) -> Any:
    """From Numba's parts, LLVM's select."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return parts.intrinsic(lambda typing, condition, a, b: (a(condition, a, b), emit))


# choose(condition, a, b): a or b, both of which were computed. LLVM makes branches of an `if`, with much to do in each.
choose = Intrinsic(llvm_choose, lambda condition, a, b: a if condition else b)


def llvm_larger(parts: Any) -> Any:
    """From Numba's parts, LLVM's `maximum`, for which NaN is the largest of all."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        maximum = builder.module.declare_intrinsic("llvm.maximum", (kind,), parts.ir.FunctionType(kind, [kind, kind]))
        return builder.call(maximum, args)

    return parts.intrinsic(lambda typing, a, b: (a(a, a), emit))


larger = Intrinsic(llvm_larger, np.maximum)


@helper(fastmath=ROUNDED)
def power32(t):  # type: ignore[no-untyped-def]
    """2^n from t = n + MAGIC: n moves into the exponent's bits."""
    return np.int32((np.float32(t).view(np.int32) << np.int32(23)) + np.int32(127 << 23)).view(np.float32)


@helper(fastmath=ROUNDED)
def power64(t):  # type: ignore[no-untyped-def]
    """2^n from t = n + MAGIC."""
    return np.int64((np.float64(t).view(np.int64) << np.int64(52)) + np.int64(1023 << 52)).view(np.float64)


@helper(fastmath=ROUNDED)
def split32(x):  # type: ignore[no-untyped-def]
    """m in [√½, √2) and n with x = m · 2^n, for a normal x > 0."""
    bits = np.float32(x).view(np.int32)
    n = np.int32((bits - np.int32(0x3F3504F3)) >> np.int32(23))  # the bits of √½
    return np.int32(bits - (n << np.int32(23))).view(np.float32), np.float32(n)


@helper(fastmath=ROUNDED)
def split64(x):  # type: ignore[no-untyped-def]
    """m in [√½, √2) and n with x = m · 2^n, for a normal x > 0."""
    bits = np.float64(x).view(np.int64)
    n = np.int64((bits - np.int64(0x3FE6A09E667F3BCD)) >> np.int64(52))
    return np.int64(bits - (n << np.int64(52))).view(np.float64), np.float64(n)


power, split = Choice(power32, power64), Choice(split32, split64)


@helper(fastmath=ROUNDED)
def reduced(x):  # type: ignore[no-untyped-def]
    """n and r with x = n · ln 2 + r and |r| <= ln 2 / 2."""
    magic, ln2 = MAGIC(x)[0], LN2(x)
    n = (x * ln2[0] + magic) - magic
    return n, (x - n * ln2[1]) - n * ln2[2]


@helper(fastmath=ROUNDED)
def expm1_series(r):  # type: ignore[no-untyped-def]
    """exp(r) - 1 for a small r: r + r² · Σ r^k / (k + 2)!"""
    return r + r * r * exp_series(r)


@helper(fastmath=ROUNDED)
def exp(x):  # type: ignore[no-untyped-def]
    """exp(n · ln 2 + r) = 2^n · exp(r). 2^n is multiplied in two halves, as the result may be subnormal."""
    limits, magic, numbers = LIMITS(x), MAGIC(x)[0], NUMBERS(x)
    x = choose(x < limits[0], limits[0], x)
    x = choose(x > limits[1], limits[1], x)
    n, r = reduced(x)
    half = n * numbers[0] + magic
    rest = (n - (half - magic)) + magic
    return (expm1_series(r) + numbers[1]) * power(half) * power(rest)


@helper(fastmath=ROUNDED)
def decay(x):  # type: ignore[no-untyped-def]
    """exp(x) for x <= 0, in fewer steps: where it would be below the normal numbers, it is 0."""
    n, r = reduced(x)
    return choose(x < LAST(x)[0], NUMBERS(x)[4], (expm1_series(r) + NUMBERS(x)[1]) * power(n + MAGIC(x)[0]))


@helper(fastmath=ROUNDED)
def sigmoid(x):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-x)), as exp(x) / (1 + exp(x)) for x < 0, so that exp never overflows."""
    one = NUMBERS(x)[1]
    e = exp(-abs(x))
    return choose(x < 0, e, one) / (one + e)


@helper(fastmath=ROUNDED)
def tanh(x):  # type: ignore[no-untyped-def]
    """With t = exp(2|x|) - 1, tanh |x| = t / (t + 2). t = 2^n · (exp(r) - 1) + (2^n - 1) is exact for a small x."""
    numbers, magic, last = NUMBERS(x), MAGIC(x)[0], LIMITS(x)[1] * NUMBERS(x)[3]
    y = abs(x)
    y = choose(y > last, last, y)
    n, r = reduced(y + y)
    scale = power(n + magic)
    t = scale * expm1_series(r) + (scale - numbers[1])
    result = t / (t + numbers[2])
    return choose(x == 0, x, choose(x < 0, -result, result))


@helper(fastmath=ROUNDED)
def log(x):  # type: ignore[no-untyped-def]
    """log(m · 2^n) = n · ln 2 + log m; with s = (m - 1) / (m + 1), log m = 2s + 2s³/3 + 2s⁵/5 + ..."""
    one, ln2, small = NUMBERS(x)[1], LN2(x), SMALLEST(x)
    subnormal = x < small[0]
    m, n = split(choose(subnormal, x * small[1], x))
    n = choose(subnormal, n - small[2], n)
    f = m - one
    s = f / (m + one)
    # 2s = f - s · f, and f is exact
    result = n * ln2[1] + (f - (s * (f - s * s * log_series(s * s)) - n * ln2[2]))
    result = choose(x == small[3], x, result)
    result = choose(x == 0, -small[3], result)
    return choose(x >= 0, result, small[3] - small[3])


@helper(fastmath=ROUNDED)
def expm1(x):  # type: ignore[no-untyped-def]
    """exp(x) - 1 for x <= 0: 2^n · (exp(r) - 1) + (2^n - 1) is exact for a small x."""
    last = LAST(x)[0]
    n, r = reduced(choose(x < last, last, x))
    scale = power(n + MAGIC(x)[0])
    return scale * expm1_series(r) + (scale - NUMBERS(x)[1])


@helper(fastmath=ROUNDED)
def log1p(e):  # type: ignore[no-untyped-def]
    """log(1 + e) for 0 <= e <= 1: as `log`, with s = e / (2 + e), at most a third."""
    s = e / (NUMBERS(e)[2] + e)
    return s + s + s * s * s * log1p_series(s * s)


@helper(fastmath=ROUNDED)
def erf(x):  # type: ignore[no-untyped-def]
    """Taylor's series up to 1, then 1 - erfc."""
    one, bounds, y = NUMBERS(x)[1], ERFC_RANGE(x), abs(x)
    a, last = bounds[0], bounds[1]
    near = x * erf_series(x * x)
    y = choose(y > last, last, y)
    far = one - exp(-y * y) * erfc_series((y - a) / (y + a))
    return choose(y < one, near, choose(x < 0, -far, far))


@helper(fastmath=ROUNDED)
def normal(x):  # type: ignore[no-untyped-def]
    """Φ(x), the normal distribution, and exp(-x² / 2), without which there is no Φ."""
    numbers, tail, y = NUMBERS(x), TAIL(x), abs(x)
    y = choose(y > tail[1], tail[1], y)
    e = exp(-numbers[0] * y * y)
    q = e * tail_series((y - tail[0]) / (y + tail[0]))
    return choose(x < 0, q, numbers[1] - q), e


@helper(fastmath=ROUNDED)
def distribution32(x):  # type: ignore[no-untyped-def]
    """Φ(x) without an exponential: 1 - Φ falls like the 16th power of a polynomial for as long as float32 can tell.

    For x >= -4 within 2.3e-6 of Φ(x) relatively; below, x Φ(x) still within 2e-7. It takes half the time of `normal`.
    """
    half, one, bend = HALF(x)[0], HALF(x)[1], HALF(x)[2]
    y = abs(x)
    p = root_series(y)
    p = p * p
    p = p * p
    p = p * p
    tail = one / (p * p)
    return choose(y < bend, half + x * centre_series(x * x), choose(x < 0, tail, one - tail))


@helper(fastmath=ROUNDED)
def distribution64(x):  # type: ignore[no-untyped-def]
    """Φ(x)"""
    return normal(x)[0]


distribution = Choice(distribution32, distribution64)
