"""Names and defaults of the arguments of everything public, as data.

    PYTHONPATH=.:tests/helpers python tests/helpers/signatures.py    # after a wanted change

writes ``tests/data/signatures.json`` anew.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from pathlib import Path

import mmdet_rank

FACTS = Path(__file__).parents[1] / "data" / "signatures.json"
#: What cannot be imported everywhere: Triton's kernels, numba's loops, the program itself.
LEFT_OUT = re.compile(r"mmdet_rank\.(ops\.kernels|ops\.compiled_loops|__main__|_)")


def modules() -> list[str]:
    """Names of the package's modules."""
    found = pkgutil.walk_packages(mmdet_rank.__path__, "mmdet_rank.")
    return sorted(module.name for module in found if not LEFT_OUT.match(module.name))


def arguments(function: object) -> str:
    """The arguments of a function without their types.

    Example:
        >>> arguments(lambda x, *more, y=0.5: None)
        'x, *more, y=0.5'
    """
    parameters = inspect.signature(function).parameters.values()
    plain = [parameter.replace(annotation=parameter.empty) for parameter in parameters]
    text = ", ".join(map(str, plain))
    # Addresses of functions and the order of sets differ from run to run.
    text = re.sub(r"<(function|class) '?([\w.]+).*?>", r"\2", text)
    return re.sub(
        r"frozenset\({(.*?)}\)", lambda m: f"{{{', '.join(sorted(m[1].split(', ')))}}}", text
    )


def signatures() -> dict[str, dict[str, str]]:
    """By module and name: functions, and what makes the classes."""
    found: dict[str, dict[str, str]] = {}
    for name in modules():
        module = importlib.import_module(name)
        for key, value in sorted(vars(module).items()):
            own = getattr(value, "__module__", None) == name and not key.startswith("_")
            if own and (inspect.isfunction(value) or inspect.isclass(value)):
                made = value.__init__ if inspect.isclass(value) else value
                if not inspect.isclass(value) or "__init__" in vars(value):
                    found.setdefault(name, {})[key] = arguments(made)
    return found


def main() -> None:
    """Write what there is."""
    FACTS.write_text(json.dumps(signatures(), indent=1) + "\n")


if __name__ == "__main__":
    import mmdet_rank.register

    main()
