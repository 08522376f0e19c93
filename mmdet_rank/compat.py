"""Which versions of the MMDetection stack are installed, under either distribution name.

Only package metadata is read, nothing of the stack is imported: a wrong version must be reported
before the stack's own import fails on it.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata

INSTALL_STACK = (
    "pip install torch torchvision onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 "
    "onedl-mmdetection==3.5.1"
)


class StackError(ImportError):
    """The stack cannot work; the message says what is wrong and which command mends it."""


@dataclass(frozen=True)
class Requirement:
    """One package of the stack: its import name, its distribution names, and the versions needed.

    Attributes:
        module: Name to import.
        distributions: Names under which it is published, the default one first.
        versions: Version specifier as in pip, for example `">=2.1.0,<3"`.
    """

    module: str
    distributions: tuple[str, ...]
    versions: str


@dataclass(frozen=True)
class Found:
    """An installed package of the stack.

    Attributes:
        module: Name to import.
        distribution: The distribution that provides it, or None for a plain source folder.
        version: Its version, or None where there is no distribution to ask.
    """

    module: str
    distribution: str | None
    version: str | None

    def __str__(self) -> str:
        if self.distribution is None:
            return f"{self.module} from a source folder, version unknown"
        return f"{self.distribution} {self.version}"


TORCH = Requirement("torch", ("torch",), ">=2.4")
MMENGINE = Requirement(
    "mmengine", ("onedl-mmengine", "mmengine", "mmengine-lite"), ">=0.10.0,<1.0.0"
)
MMCV = Requirement("mmcv", ("onedl-mmcv", "mmcv", "mmcv-lite"), ">=2.1.0,<3.0.0")
MMDET = Requirement("mmdet", ("onedl-mmdetection", "mmdet"), ">=3.3.0,<4.0.0")
STACK = (TORCH, MMENGINE, MMCV, MMDET)


def find(requirement: Requirement) -> list[Found]:
    """Find the distributions that provide a package of the stack.

    Args:
        requirement: The package to look for.

    Returns:
        One entry per installed distribution; more than one means that they overwrite each other's
        files. A module without a distribution gives one entry of unknown version.
    """
    found = []
    for name in requirement.distributions:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        found.append(Found(requirement.module, name, version))
    if not found and importlib.util.find_spec(requirement.module) is not None:
        found.append(Found(requirement.module, None, None))
    return found


def find_problems() -> list[str]:
    """Compare what is installed with what is needed.

    Returns:
        One sentence per problem, naming what was found, what is needed and the command that mends
        it. Empty when the stack fits.
    """
    found = {requirement.module: find(requirement) for requirement in STACK}
    problems = [
        problem
        for requirement in STACK
        if (problem := _check_one(requirement, found[requirement.module]))
    ]
    if not _can_compare():
        problems.append(
            "Expected packaging, by which versions are compared, but it is not installed; do: "
            "pip install packaging"
        )
    if not problems:
        problems.extend(_check_original_mmdet(found["mmdet"][0], found["mmcv"][0]))
    return problems


def check_stack() -> None:
    """Raise when the installed stack cannot work.

    Raises:
        StackError: Some package is missing, doubled or of a wrong version; the message names each
            with the command that mends it.
    """
    problems = find_problems()
    if problems:
        raise StackError("mmdet_rank cannot use this environment.\n" + "\n".join(problems))


def _check_one(requirement: Requirement, found: list[Found]) -> str | None:
    names = " or ".join(requirement.distributions)
    needed = f"Expected {requirement.module} {requirement.versions} (distribution {names})"
    if not found:
        return f"{needed}, but it is not installed; do: {INSTALL_STACK}"
    if len(found) > 1:
        listed = " and ".join(map(str, found))
        extra = " ".join(str(entry.distribution) for entry in found)
        return (
            f"{needed}, but got {listed}, which overwrite each other's files; "
            f"do: pip uninstall {extra}, then: {INSTALL_STACK}"
        )
    version = found[0].version
    if version is not None and not _fits(version, requirement.versions):
        return f"{needed}, but got {found[0]}; do: {INSTALL_STACK}"
    return None


def _check_original_mmdet(mmdet: Found, mmcv: Found) -> list[str]:
    """MMDetection 3.3.0 itself refuses mmcv 2.2.0 and later, by a bare assertion."""
    if mmdet.distribution != "mmdet" or mmdet.version is None or mmcv.version is None:
        return []
    if not (_fits(mmdet.version, "<3.4.0") and _fits(mmcv.version, ">=2.2.0")):
        return []
    return [
        f"Expected mmcv <2.2.0 beside {mmdet}, but got {mmcv}; do: pip install mmcv-lite==2.1.0 "
        f"(after pip uninstall {mmcv.distribution}), or pip uninstall mmdet mmengine "
        f"{mmcv.distribution}, then: {INSTALL_STACK}"
    ]


def _can_compare() -> bool:
    try:
        import packaging.specifiers  # noqa: F401
    except ImportError:
        return False
    return True


def _fits(version: str, specifier: str) -> bool:
    if not _can_compare():
        return True  # Nothing is held against a version that cannot be judged.
    # Imported here because the stack needs it anyway, while mmdet_rank.ops alone does not.
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(version, prereleases=True)
