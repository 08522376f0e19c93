"""Install mmdet_rank: `pip install -e .`, or `make setup` for the pinned stack in `.venv`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
#: Each has its file, in which each requirement has its reason.
EXTRAS = ("mmdet", "dev", "lvis", "lite", "seg", "fast")
#: Configs and tools as MMEngine looks for them in a package; links to those of the repository.
MIM = (
    ".mim/model-index.yml",
    *(f".mim/configs/**/*.{suffix}" for suffix in ("py", "yml", "md")),
    *(f".mim/tools/*.{suffix}" for suffix in ("py", "sh")),
)
#: What needs the repository's own experiments.
NOT_INSTALLED = (".mim/tools/compare_losses.py",)


def read_version() -> str:
    """Read `__version__` from mmdet_rank/version.py without importing the package."""
    text = (HERE / "mmdet_rank" / "version.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE).group(1)


def read_requirements(name: str) -> list[str]:
    """Read requirements/NAME.txt, one requirement per line, without comments."""
    lines = (HERE / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    found = []
    for line in lines:
        requirement = line.split("#", 1)[0].strip()
        if requirement.startswith("-r "):
            found.extend(read_requirements(requirement[3:].removesuffix(".txt")))
        elif requirement:
            found.append(requirement)
    return found


def read_readme() -> str:
    """Return README.md, or nothing where only the package itself was copied."""
    readme = HERE / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


setup(
    name="mmdet-rank",
    version=read_version(),
    description="Ranking losses (RS, aLRP, AP) and the LRP Error for MMDetection 3.x",
    long_description=read_readme(),
    long_description_content_type="text/markdown",
    author="mmdet_rank contributors",
    license="Apache-2.0",
    project_urls={
        "MMDetection": "https://github.com/open-mmlab/mmdetection",
        "Paper on RS Loss": "https://arxiv.org/abs/2107.11669",
        "Paper on aLRP Loss": "https://arxiv.org/abs/2009.13592",
        "Paper on LRP Error": "https://arxiv.org/abs/2011.10772",
    },
    packages=find_packages(include=["mmdet_rank", "mmdet_rank.*"]),
    package_data={"mmdet_rank": ["py.typed", *MIM]},
    exclude_package_data={"mmdet_rank": [*NOT_INSTALLED]},
    entry_points={"console_scripts": ["mmdet-rank=mmdet_rank.cli.main:main"]},
    python_requires=">=3.10",
    # Each requirement has its reason beside it in requirements/runtime.txt.
    install_requires=read_requirements("runtime"),
    extras_require={name: read_requirements(name) for name in EXTRAS},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Operating System :: POSIX :: Linux",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
