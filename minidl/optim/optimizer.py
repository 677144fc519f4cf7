"""Optimizer: parameters in groups, each group with options, each parameter with a state.

An optimiser is one formula: its `update` turns a parameter's array and its gradient into the new array, in place.
Everything else is here. Arrays keep their dtype throughout: options are made Python numbers, which are weak in NumPy.

A formula that has a kernel is given in parts, `arrays`, `coefficients` and `steps`, so that all parameters change in
one launch: most of them are small, and a launch costs more than their few numbers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from minidl.kernels.jit import contiguous
from minidl.kernels.many import Rows
from minidl.mode import enable_grad
from minidl.nn.module import zero_grad
from minidl.tensor import Tensor

State = dict[str, Any]
Group = dict[str, Any]
Arrays = tuple[np.ndarray | None, ...]


class Optimizer:
    """Base class of all optimisers. A subclass writes `check`, which judges the options, and `update`.

    Attributes:
        param_groups: dicts, each with "params", a list of Tensors, and the options that hold for them; a learning rate
            is changed by `optimizer.param_groups[0]["lr"] = ...`.
        state: what each parameter's updates remember, by parameter.
        state_names: the names that a state may have.
        steps: `step(rows, **coefficients)` by a kernel, and `plain(*arrays, **coefficients)` for what no kernel can do.

    Raises:
        TypeError: parameters that are not Tensors, or a single one. ValueError: no parameters, one twice, one that is
            not a leaf, an option out of range.
    """

    state_names: ClassVar[tuple[str, ...]] = ()
    steps: ClassVar[tuple[Callable[..., None], Callable[..., None]]]

    def __init__(self, params: Iterable[Tensor] | Iterable[Group], defaults: Group) -> None:
        self.name = type(self).__name__
        self.defaults = defaults
        self.check(defaults)
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, State] = {}
        if isinstance(params, Tensor | dict) or not isinstance(params, Iterable):
            raise TypeError(f"{self.name}: params must be a list of Tensors or of dicts, not a {type(params).__name__}")
        groups = list(params)
        if not groups:
            raise ValueError(f"{self.name}: there are no parameters to optimise")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def check(self, options: Group) -> None:
        """Raise TypeError or ValueError for an option that makes no sense."""

    def update(self, p: np.ndarray, g: np.ndarray, state: State, options: Group) -> None:
        """Change the parameter's array `p` in place, given its gradient `g` (not to be written to)."""
        changes = Changes(self, options)
        changes.add(p, contiguous(g), state)
        changes.make()

    def arrays(self, p: np.ndarray, g: np.ndarray, state: State, options: Group) -> tuple[Arrays, int]:
        """What a step works on, p and g first, and the number of the step as far as coefficients depend on it."""
        raise NotImplementedError(f"{self.name} has no update")

    def coefficients(self, options: Group, t: int) -> dict[str, Any]:
        """The numbers of a step."""
        raise NotImplementedError(f"{self.name} has no update")

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters with options of their own: `{"params": [...], "lr": 0.01}`. Raises as the constructor."""
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(f"{self.name}: a parameter group must be a dict with 'params', not {param_group!r}")
        params = param_group["params"]
        if isinstance(params, set | frozenset):
            raise TypeError(f"{self.name}: params must have an order, but a set has none: use a list")
        params = [params] if isinstance(params, Tensor) else list(params)
        known = {id(p) for group in self.param_groups for p in group["params"]}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(f"{self.name}: params must be Tensors, but number {i} is a {type(p).__name__}")
            if p.dtype.kind != "f":
                raise TypeError(f"{self.name}: params must be floating-point, but number {i} is {p.dtype}")
            if not p.is_leaf:
                raise ValueError(f"{self.name}: parameter {i}, of shape {p.shape}, is not a leaf: it was computed")
            if id(p) in known:
                raise ValueError(f"{self.name}: parameter {i}, of shape {p.shape}, appears twice")
            known.add(id(p))
        group = {"params": params, **{k: v for k, v in param_group.items() if k != "params"}}
        group = group | {k: v for k, v in self.defaults.items() if k not in group}
        self.check(group)
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or fill them with zeros (then momentum and weight decay still act)."""
        for group in self.param_groups:
            for p in group["params"]:
                zero_grad(p, set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: is called first; computes the loss, and gradients by backward.

        Returns:
            What the closure returned, else None.

        Raises:
            ValueError: a gradient's shape or dtype is not its parameter's.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        together = getattr(self.update, "__func__", None) is Optimizer.update  # no subclass has its own
        for group in self.param_groups:
            changes, maximize = Changes(self, group), group.get("maximize")
            try:
                for p in group["params"]:
                    if p.grad is not None:
                        array, g = p._array, p.grad._array
                        if g.shape != array.shape or g.dtype != array.dtype:
                            raise ValueError(self._misfit(array, "gradient", g))
                        g, state = -g if maximize else g, self.state.setdefault(p, {})
                        if together:
                            changes.add(array, g if g.flags.carray else contiguous(g), state)
                        else:
                            self.update(array, g, state, group)
                        p._version.change()
            finally:  # after an error, too: the parameters before that one are changed
                changes.make()
        return loss

    def _misfit(self, p: np.ndarray, name: str, value: np.ndarray) -> str:
        return (
            f"{self.name}: a parameter has shape {p.shape} and dtype {p.dtype}, but its {name} {value.shape} "
            f"and {value.dtype}"
        )

    def buffer(self, state: State, name: str, p: np.ndarray, value: float = 0.0) -> np.ndarray:
        """The array of that name in a state; filled with `value` the first time. ValueError if it is not as p."""
        kept = state.get(name)
        if kept is None:
            kept = state[name] = Tensor(np.full(p.shape, value, p.dtype))
        array: np.ndarray = kept._array
        if array.shape != p.shape or array.dtype != p.dtype:
            raise ValueError(self._misfit(p, name, array) + "; was the module cast after the first step?")
        return array

    # State

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number of a parameter: its state}, "param_groups": [options, "params" as numbers]}.

        Parameters are numbered through all groups. The Tensors are the optimiser's own: save them before the next step.
        """
        numbers = {id(p): i for i, p in enumerate(self._params())}
        return {
            "state": {numbers[id(p)]: dict(state) for p, state in self.state.items()},
            "param_groups": [
                {**group, "params": [numbers[id(p)] for p in group["params"]]} for group in self.param_groups
            ],
        }

    def _params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go back to a state that `state_dict` returned: options and copies of the arrays, all or nothing.

        Raises:
            ValueError: other groups, other shapes or dtypes, or the state of another optimiser.
            TypeError: not such a dict.
        """
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= state_dict.keys():
            raise TypeError(f"{self.name}: load_state_dict expects a dict with 'state' and 'param_groups'")
        groups = [self._loaded_group(i, group) for i, group in enumerate(state_dict["param_groups"])]
        found, own = ([len(group["params"]) for group in g] for g in (state_dict["param_groups"], self.param_groups))
        if found != own:
            raise ValueError(f"{self.name}: the state is of groups with {found} parameters, not {own}")
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        params = dict(zip(numbers, self._params(), strict=True))
        states = {}
        for number, state in state_dict["state"].items():
            if number not in params:
                raise ValueError(f"{self.name}: the state is of a parameter {number!r} that no group has")
            states[params[number]] = {k: self._loaded(number, params[number], k, v) for k, v in state.items()}
        for group, loaded in zip(self.param_groups, groups, strict=True):
            group.update(loaded)
        self.state = states

    def _loaded_group(self, i: int, group: Mapping[str, Any]) -> Group:
        """A group's options, without its parameters."""
        missing = [name for name in (*self.defaults, "params") if name not in group]
        if missing:
            raise ValueError(f"{self.name}: param_groups[{i}] of the state lacks {', '.join(missing)}")
        options = {name: copy.deepcopy(value) for name, value in group.items() if name != "params"}
        self.check(options)
        return options

    def _loaded(self, number: Any, p: Tensor, name: str, value: Any) -> Any:
        """One entry of a parameter's state: a count, or an array of the parameter's shape and dtype."""
        if name not in self.state_names:
            raise ValueError(f"{self.name}: the state of parameter {number} has {name!r}; is it another optimiser's?")
        if name == "step":
            return int(value.item() if isinstance(value, Tensor | np.ndarray) else value)
        if value is None:
            return None
        value = Tensor(np.array(value._array if isinstance(value, Tensor) else value))
        if (value.shape, value.dtype) != (p.shape, p.dtype):
            raise ValueError(
                f"{self.name}: {name} of parameter {number} has shape {value.shape} and dtype {value.dtype}, "
                f"the parameter {p.shape} and {p.dtype}"
            )
        return value

    def __repr__(self) -> str:
        lines = [f"{self.name} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])


class Changes:
    """Steps of parameters of a group, made together as long as they have the same coefficients, and in order."""

    ENOUGH = 2**20  # values a launch: more would not be faster, and copies of gradients are held until then

    def __init__(self, optimizer: Optimizer, group: Group) -> None:
        self.optimizer = optimizer
        self.options = {name: python_number(group[name]) for name in optimizer.defaults if name in group}
        self.rows: list[Arrays] = []
        self.kind: Any = None
        self.values = 0

    def add(self, p: np.ndarray, g: np.ndarray, state: State) -> None:
        """Make a parameter's step soon."""
        arrays, t = self.optimizer.arrays(p, g, state, self.options)
        if self.kind != (t, p.dtype) or self.values > self.ENOUGH:
            self.make()
            self.kind = t, p.dtype
        self.rows.append(arrays)
        self.values += p.size

    def make(self) -> None:
        """Make the steps that have not been made yet."""
        rows, self.rows, self.values = self.rows, [], 0
        if rows:
            self.take(rows, self.optimizer.coefficients(self.options, self.kind[0]))

    def take(self, rows: list[Arrays], coefficients: dict[str, Any]) -> None:
        """All rows in one launch; if there are arrays that no kernel takes, one half and then the other."""
        step, plain = self.optimizer.steps
        table, half = Rows(rows), len(rows) // 2
        if table.lines is not None:
            step(table, **coefficients)
        elif half:
            self.take(rows[:half], coefficients)
            self.take(rows[half:], coefficients)
        else:
            plain(*rows[0], **coefficients)


def in_range(name: str, options: Group, argument: str, low: float, below: float = np.inf) -> None:
    """TypeError unless the option is a number, ValueError unless low <= option < below."""
    value = options[argument]
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
        raise TypeError(f"{name}: {argument} must be a number, not {value!r}")
    if not low <= value < below:
        limits = f"at least {low}" if below == np.inf else f"in [{low}, {below})"
        raise ValueError(f"{name}: {argument} must be {limits}, but is {value}")


def python_number(value: Any) -> Any:
    """An option as Python has it: a NumPy float64 would turn float32 arrays into float64."""
    if type(value) in (float, int, bool):
        return value
    if isinstance(value, tuple | list):
        return [python_number(x) for x in value]
    return value.tolist() if isinstance(value, np.generic | np.ndarray | Tensor) else value
