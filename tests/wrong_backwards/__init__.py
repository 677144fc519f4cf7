"""A bank of wrong backwards, such as students write and reviewers miss: the checks must reject every one.

Each entry replaces the backward of one Function while one operation of the op table is checked. There is a module for
each family of operations; importing it enters what is in it.
"""

from wrong_backwards import activation, anywhere, attention, conv, linear, loss, norm, pool, primitives, recurrent
from wrong_backwards.bank import BANK, Wrong

FAMILIES = (anywhere, conv, pool, linear, recurrent, norm, loss, activation, primitives, attention)

__all__ = ["BANK", "FAMILIES", "Wrong"]
