"""The rule by which every comparison with PyTorch is judged.

An f32 implementation is right when its relative L2 error against PyTorch in f64 is at most

    max(1e-5, 3 x the error that PyTorch's own f32 makes on the same input).

A parameter gradient that is a thousandth of the largest, or less, is rounding of the others: its error is measured
against that thousandth. So, with |.| the L2 norm over a whole tensor,

    error(x) = |x - x64| / max(|x64|, 1e-3 max over parameters p of |grad.p 64|)     for grad.<parameter>
    error(x) = |x - x64| / |x64|                                                     for output and grad.sample
"""

import torch

FLOOR = 1e-5
FACTOR = 3.0


def norm(x: torch.Tensor) -> float:
    return x.double().norm().item()


def is_parameter_gradient(name: str) -> bool:
    return name.startswith("grad.") and name != "grad.sample"


def relative_errors(actual: dict[str, torch.Tensor], exact: dict[str, torch.Tensor]) -> dict[str, float]:
    """Error of every tensor of `exact`, by the definition above."""
    smallest = 1e-3 * max((norm(x) for name, x in exact.items() if is_parameter_gradient(name)), default=0.0)
    errors = {}
    for name, x in exact.items():
        scale = max(norm(x), smallest) if is_parameter_gradient(name) else norm(x)
        errors[name] = norm(actual[name].double() - x.double()) / scale
    return errors


def allowed(error_of_f32: float) -> float:
    return max(FLOOR, FACTOR * error_of_f32)


def exceptions(errors_of_f32: dict[str, float]) -> dict[str, float]:
    """What is allowed where it is more than the floor, to three digits: all that a fixture has to remember."""
    return {name: float(f"{allowed(e):.3g}") for name, e in sorted(errors_of_f32.items()) if allowed(e) > FLOOR}
