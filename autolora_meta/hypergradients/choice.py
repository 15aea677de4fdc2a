"""HypergradientOptions: a method and its options, as a configuration gives them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from autolora_meta.errors import InputError, unknown
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.options import Options
from autolora_meta.hypergradients.choice_schema import choice_schema
from autolora_meta.hypergradients.finite_difference import FiniteDifferenceOptions
from autolora_meta.hypergradients.methods import METHODS, SOLVERS, Method, compose, method

DEFAULT = "darts"  # of search.hypergradient


class HypergradientOptions(Options):
    """A hypergradient method and its options.

    A configuration gives a name (`darts`), a mapping with `method` and that method's own options,
    or a mapping with `solver` and `products` for a pair that has no preset. It is written as a flat
    mapping with the options of its method alone.

    >>> chosen = HypergradientOptions.model_validate({"method": "cg", "iterations": 20})
    >>> chosen.model_dump()
    {'method': 'cg', 'iterations': 20, 'tolerance': 0.001, 'damping': 10.0, 'weight': 'balanced'}
    """

    record: Method = Field(description="The method's row in the table.")
    solver: Options = Field(description="Options of its solver.")
    difference: FiniteDifferenceOptions | None = Field(
        default=None, description="How differences are taken, for methods that take them."
    )
    weight: Annotated[float, Field(ge=0)] | Literal["balanced"] = Field(
        default="balanced",
        description="Weight of the implicit term beside the direct one: balanced, or a number of "
        "at least 0. 1 is the mathematics. balanced: at each step the weight that makes both terms "
        "equally long, whatever the scale of the loss and of the learning rate; it found planted "
        "ranks best (docs/ranks.md).",
    )

    @property
    def method(self) -> str:
        """The method's name."""
        return self.record.name

    @property
    def factor(self) -> float:
        """The factor of J x; 1 for a balanced weight, which is known only with f_a."""
        return 1.0 if self.weight == "balanced" else self.weight

    def cost(self, *, centre_known: bool = False, in_parts: bool = False) -> Cost:
        """Return the most that the implicit term costs, beyond the inner and the outer pass."""
        known = {"centre_known": centre_known, "in_parts": in_parts}
        return self.record.cost(self.solver, self.difference, **known)

    @classmethod
    def kept_under(cls, below: Any, above: Mapping[str, Any]) -> dict[str, Any]:
        """Drop all options if `above` sets the method: each method has its own.

        >>> HypergradientOptions.kept_under("cg", {"iterations": 9})
        {'method': 'cg'}
        >>> HypergradientOptions.kept_under({"method": "cg", "iterations": 9}, {"method": "darts"})
        {}
        """
        if {"method", "solver"} & above.keys():
            return {}
        return super().kept_under({"method": below} if isinstance(below, str) else below, above)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the JSON Schema of what a configuration gives, in which the fields are flat."""
        made = handler.resolve_ref_schema(handler(core_schema))
        return choice_schema(made["properties"]["weight"], DEFAULT)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if isinstance(value, HypergradientOptions):
            return value
        given = dict(value) if isinstance(value, Mapping) else {"method": value}
        try:
            record = _record(given)
        except InputError as error:
            raise PydanticCustomError("method", "{text}", {"text": str(error)}) from None
        errors = _foreign(record, given)
        read: dict[str, Any] = {"record": record}
        parts = {"solver": record.solver_options}
        if record.differences:
            parts["difference"] = FiniteDifferenceOptions
        for part, options in parts.items():
            own = {name: given[name] for name in options.model_fields if name in given}
            try:
                read[part] = options.model_validate(own)
            except ValidationError as error:
                errors += [_line(e["loc"], e["input"], e["msg"]) for e in error.errors()]
        if errors:
            raise ValidationError.from_exception_data("hypergradient", errors)
        return read | {name: given[name] for name in ("weight",) if name in given}

    @model_serializer
    def _write(self) -> dict[str, Any]:
        if self.method in METHODS:
            head = {"method": self.method}
        else:
            head = {"solver": self.record.solver, "products": self.record.products}
        difference = self.difference.model_dump() if self.difference else {}
        return {**head, **self.solver.model_dump(), **difference, "weight": self.weight}


def parse(value: str | Mapping[str, Any]) -> HypergradientOptions:
    """Read a method from its name, or from a mapping as `HypergradientOptions` takes it.

    Raises:
        pydantic.ValidationError: a ValueError with every mistake and its place.

    Example:
        >>> parse({"method": "one_step", "weight": 1}).model_dump()
        {'method': 'one_step', 'scale': 'inner_lr', 'weight': 1.0}
    """
    return HypergradientOptions.model_validate(value)


def _record(given: dict[str, Any]) -> Method:
    """Return the method that `given` names, and remove the keys that name it."""
    named = {key: given.pop(key) for key in ("method", "solver", "products") if key in given}
    if set(named) == {"method"}:
        return method(named["method"])
    if "method" not in named and "solver" in named:
        return compose(named["solver"], named.get("products", "autograd"))
    raise InputError(
        f"given {named or 'neither method nor solver'}; allowed: a method "
        f"({', '.join(METHODS)}), or instead of it a solver ({', '.join(SOLVERS)}) with products "
        "(autograd, finite_difference)"
    )


def _foreign(record: Method, given: dict[str, Any]) -> list[InitErrorDetails]:
    """Return an error for each option that the method does not take."""
    errors = []
    for key in [key for key in given if key not in record.option_names]:
        owners = [other.name for other in METHODS.values() if key in other.option_names]
        takes = f"{record.name} takes: {', '.join(record.option_names)}"
        if owners:
            text = f"option '{key}' belongs to {', '.join(owners)}, not to {record.name}; {takes}"
        else:
            text = unknown(f"option of {record.name}", key, record.option_names)
        errors.append(_line((key,), given[key], text))
    return errors


def _line(place: tuple[int | str, ...], given: Any, text: str) -> InitErrorDetails:
    kind = PydanticCustomError("option", "{text}", {"text": text})
    return InitErrorDetails(type=kind, loc=place, input=given)
