"""Configs that checkpoints carry as text: read as values, so that they run no code of their own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import mmdet_rank.register  # noqa: F401

from mmdet.utils import get_test_pipeline_cfg
from mmengine.config import Config
from mmengine.registry import MODELS, TASK_UTILS, TRANSFORMS, Registry
from mmengine.utils import import_modules_from_strings

from mmdet_rank.cli.errors import UserError

#: Packages of which a config may name modules, scopes and classes.
PACKAGES = ("mmdet_rank", "mmdet", "mmcv", "mmengine", "mmseg")
TRUST = "if you trust where it comes from, add --trust-checkpoint"
#: What MMEngine imports, or MMCV and MMDetection evaluate as Python.
_NAMES = ("type", "warp_mode")
_SCOPES = ("_scope_", "default_scope")


def read_saved_config(text: str, where: str) -> Config:
    """Read a config as values, and refuse one by which a detector would run foreign code.

    ``Config.fromstring`` runs the text as Python. Values can run code too: MMEngine imports and
    calls whatever a dotted ``type`` names, be it ``os.system``.

    Args:
        text: As ``Config.pretty_text`` writes it.
        where: What to call the file in messages.

    Returns:
        The config; what it imports is imported, and its model starts from no other weights.

    Raises:
        SyntaxError: The text is not Python.
        UserError: The text is more than values, or a detector of it would run other code.
    """
    values = _values(text, where)
    _import(values.get("custom_imports"), where)
    if "model" in values:
        values["model"] = _without_start(values["model"])
    cfg = Config(values)
    # Of the other parts nothing is built to detect.
    built = {"default_scope": values.get("default_scope"), "model": values.get("model")}
    if "test_dataloader" in values:
        built["pipeline"] = get_test_pipeline_cfg(cfg)
    _refuse_foreign_names(built, where)
    _refuse_other_files(values.get("model"), where)
    return cfg


def _values(text: str, where: str) -> dict[str, Any]:
    found = {}
    for statement in ast.parse(text).body:
        try:
            name, value = _assignment(statement)
            found[name] = _value(value)
        except (TypeError, ValueError):
            line = text.splitlines()[statement.lineno - 1].strip()
            raise UserError(
                f"Expected a config of plain values in {where}, but its line {statement.lineno} "
                f"would run as code: {line[:80]!r}; {TRUST}"
            ) from None
    return found


def _assignment(statement: ast.stmt) -> tuple[str, ast.expr]:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name, value
    raise ValueError("no assignment to one name")


def _value(node: ast.expr | None) -> Any:
    """The value of a literal, in which ``dict(...)`` may stand for ``{...}``.

    Raises:
        ValueError: It is something else.
        TypeError: It cannot be made, such as a dict with a list as a key.
    """
    match node:
        case ast.Call(func=ast.Name(id="dict"), args=parts, keywords=named):
            # A `**` among the arguments has no name, which is no key: TypeError.
            by_name: dict[Any, Any] = {each.arg: _value(each.value) for each in named}
            return dict(*map(_value, parts), **by_name)
        case ast.Dict(keys=keys, values=values):
            return dict(zip(map(_value, keys), map(_value, values), strict=True))
        case ast.List(elts=parts):
            return [_value(part) for part in parts]
        case ast.Tuple(elts=parts):
            return tuple(_value(part) for part in parts)
    return ast.literal_eval(node)  # type: ignore[arg-type]


def _import(custom: Any, where: str) -> None:
    """Import the modules that a config names, if they are of known packages."""
    if not custom:
        return
    names = custom["imports"]
    for name in [names] if isinstance(names, str) else names:
        if not _is_of_packages(name):
            raise _foreign("custom_imports", name, where)
    import_modules_from_strings(**custom)


def _without_start(node: Any) -> Any:
    """A model that does not say how its weights begin: they are those of the checkpoint."""
    if isinstance(node, dict):
        return {k: None if k == "init_cfg" else _without_start(v) for k, v in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(_without_start(value) for value in node)
    return node


def _refuse_foreign_names(node: Any, where: str) -> None:
    known = set(_registered())
    for key, value in _entries(node):
        if not isinstance(value, str):
            continue
        if (key in _NAMES and not _is_known(value, known)) or (
            key in _SCOPES and value not in PACKAGES
        ):
            raise _foreign(key, value, where)


def _refuse_other_files(model: Any, where: str) -> None:
    """Refuse a model that reads another config, or weights from elsewhere, as teachers do."""
    for key, value in _entries(model):
        if isinstance(value, str) and ("://" in value or value.endswith(".py")):
            raise UserError(
                f"Expected a model that reads no other file in the config of {where}, but got "
                f"{key}={value!r}, which may run code; {TRUST}"
            )


def _entries(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested dicts and lists, each with the nearest key."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _entries(value, name)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _entries(value, key)
    else:
        yield key, node


def _is_known(name: str, known: set[tuple[str, str]]) -> bool:
    """Tell whether a name can only give what is registered: dotted ones are imported else."""
    if "." not in name:
        return name.isidentifier()
    parts = name.split(".")
    return _are_names(parts) and (parts[0], parts[-1]) in known


def _is_of_packages(module: Any) -> bool:
    parts = module.split(".") if isinstance(module, str) else [""]
    return _are_names(parts) and parts[0] in PACKAGES


def _are_names(parts: list[str]) -> bool:
    # A module such as __main__ is a program, which runs when it is imported.
    return all(part.isidentifier() and not part.startswith("__") for part in parts)


def _registered() -> Iterator[tuple[str, str]]:
    """Package and name of every part of a detector, by its scope and as it is imported."""
    registries: list[Registry] = [MODELS, TASK_UTILS, TRANSFORMS]
    while registries:
        registry = registries.pop()
        registries += registry.children.values()
        for name, made in registry.module_dict.items():
            yield registry.scope, name
            yield made.__module__.split(".")[0], getattr(made, "__name__", name)


def _foreign(key: str, value: Any, where: str) -> UserError:
    return UserError(
        f"Expected names of {', '.join(PACKAGES)} in the config of {where}, but got "
        f"{key}={value!r}, which may run other code; {TRUST}"
    )
