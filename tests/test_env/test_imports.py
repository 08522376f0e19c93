"""What each floor of the package loads, and in which environments, each in a fresh process."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
STACK = ("mmdet", "mmcv", "mmengine")

#: Makes packages absent: they cannot be imported, nor found, nor asked for their version.
HIDE = """
import sys
from importlib import metadata, util

hidden, versions = {hidden}, {versions}
find_spec, version = util.find_spec, metadata.version

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

def version_of_visible(name):
    if name in versions:
        return versions[name]
    if name in hidden or "mm" in name:
        raise metadata.PackageNotFoundError(name)
    return version(name)

sys.meta_path.insert(0, Hide())
util.find_spec = lambda name, *package: None if name in hidden else find_spec(name, *package)
metadata.version = version_of_visible
"""
#: Prints the packages that an import brings, without Python's own.
LIST = """
import json, sys
before = set(sys.modules)
{imports}
names = {{name.split(".")[0] for name in set(sys.modules) - before}} - set(sys.stdlib_module_names)
print(json.dumps(sorted(name for name in names if "cython" not in name)))
"""
#: All of evaluation but lvis, which needs the lvis package and says so.
PARTS = sorted((REPOSITORY / "mmdet_rank" / "evaluation").glob("[a-z]*.py"))
EVALUATION = "import mmdet_rank.annotations, mmdet_rank.imbalance\n" + "\n".join(
    f"import mmdet_rank.evaluation.{path.stem}" for path in PARTS if path.stem != "lvis"
)


def run(program, hidden=(), versions=()):
    """Run a program in a fresh process that cannot see the hidden packages.

    Args:
        program: Python code.
        hidden: Import names.
        versions: Distributions of the stack that seem to be there, with their versions.

    Returns:
        What the program printed on standard output and standard error.
    """
    if hidden:
        program = HIDE.format(hidden=hidden, versions=dict(versions)) + program
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def loaded_by(imports):
    """Return the names of the packages that these statements load."""
    printed, _ = run(LIST.format(imports=imports))
    return set(json.loads(printed))


def test_package_loads_nothing():
    assert loaded_by("import mmdet_rank") == {"mmdet_rank"}


def test_losses_and_generators_load_torch_alone():
    beyond = loaded_by("import mmdet_rank.ops, mmdet_rank.generators") - loaded_by("import torch")
    assert beyond == {"mmdet_rank"}


def test_evaluation_loads_numpy_and_what_its_files_need():
    assert loaded_by(EVALUATION) == {"mmdet_rank", "numpy", "pycocotools", "PIL"}


def test_register_twice_leaves_pictures_and_commands_alone():
    program = """
import sys, mmdet_rank.register, mmdet_rank.register
from mmdet.registry import HOOKS, METRICS, MODELS, OPTIM_WRAPPERS, RUNNERS
for registry, name in (
    (MODELS, "RankATSSHead"), (MODELS, "RankSortLoss"), (METRICS, "CocoLRPMetric"),
    (HOOKS, "SelfBalanceHook"), (RUNNERS, "ResumableRunner"),
    (OPTIM_WRAPPERS, "BFloat16OptimWrapper"),
):
    assert registry.get(name).__module__.startswith("mmdet_rank."), name
heavy = ("mmdet_rank.cli", "mmdet_rank.visualization")
assert not [name for name in sys.modules if name.startswith(heavy)]
"""
    run(program)


LOSS = """
import torch
from mmdet_rank.ops import rank_sort_loss
logits = torch.zeros(3, requires_grad=True)
sum(rank_sort_loss(logits, torch.tensor([0.0, 0.9, 0.4]))).backward()
print(logits.grad[0].item() > 0)
"""


def test_evaluation_without_torch():
    metric = (
        "\nfrom mmdet_rank.evaluation import optimal_lrp"
        "\nprint(optimal_lrp([0.9, 0.2], [True, False], [0.75, 0.0], num_gt=1).lrp)"
    )
    printed, _ = run(EVALUATION + metric, hidden=(*STACK, "torch"))
    assert float(printed) == pytest.approx(0.5)


def test_losses_and_evaluation_beside_mmdetection_2():
    # Its modules are hidden, since nothing may import them; only its version can be asked for.
    versions = {"mmdet": "2.28.2", "mmcv-full": "1.7.2"}
    program = (
        f"{LOSS}{EVALUATION}\ntry:\n    import mmdet_rank.register\n"
        "except ImportError as error:\n    print(error)\n"
    )
    printed, _ = run(program, hidden=STACK, versions=versions)
    works, _, *problems = printed.splitlines()
    assert works == "True"
    assert any("mmdet >=3.3.0" in line and "got mmdet 2.28.2" in line for line in problems)


def test_parts_that_need_mmdetection_say_what_to_install():
    program = """
for part in ("register", "losses", "criteria", "models", "engine", "evaluation.metrics"):
    try:
        __import__(f"mmdet_rank.{part}")
    except ImportError as error:
        first, *problems = str(error).splitlines()
        print(part, len(problems), all("not installed; do: pip install" in p for p in problems))
from mmdet_rank import check_env
print(check_env.main())
"""
    printed, errors = run(LOSS + program, hidden=STACK)
    works, *lines = printed.splitlines()
    assert works == "True"
    assert lines[:6] == [
        f"{part} 3 True"
        for part in ("register", "losses", "criteria", "models", "engine", "evaluation.metrics")
    ]
    assert lines[-2:] == ["training cannot work: 3 problem(s)", "1"]
    assert "PROBLEM: Expected mmdet" in errors


def test_commands_without_torch_or_mmdetection_end_in_one_message(tmp_path):
    program = f"""
from mmdet_rank.cli.main import main
print(main(["train", "config.py"]))
print(main(["demo-image", {str(tmp_path)!r}, "config.py", "a.pth"]))
print(main(["make-digits", "--out", {str(tmp_path / "data")!r}]))
files = ["--annotations", "tests/data/lrp/synthetic/gt.json"]
files += ["--results", "tests/data/lrp/synthetic/dt.json", "--plots", {str(tmp_path)!r}]
print(main(["eval", *files]))
"""
    printed, errors = run(program, hidden=(*STACK, "torch", "torchvision", "cv2", "matplotlib"))
    assert printed.split()[:3] == ["1", "1", "1"]
    assert printed.split()[-1] == "1"
    assert "Traceback" not in errors
    assert errors.count("error: mmdet_rank cannot use this environment.") == 2
    assert errors.count("Expected torch >=2.4 (distribution torch), but it is not installed") == 2
    last = "error: Expected cv2 for mmdet-rank make-digits, but it is not installed; do what `mmdet"
    assert last in errors


def test_what_imports_print(capsys):
    from mmdet_rank._stack import without_onedl

    with without_onedl():
        print("Could not import OneDL. Skipping OneDL datasets.")
        print("anything else")
    assert capsys.readouterr().out == "anything else\n"

    @without_onedl()
    def fail():
        print("before it failed")
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert capsys.readouterr().out == "before it failed\n"
    for floor in ("register", "segmentation"):
        done = subprocess.run(
            [sys.executable, "-c", f"import mmdet_rank.{floor}"],
            capture_output=True, text=True, check=True, cwd=REPOSITORY,
        )  # fmt: skip
        assert not done.stdout


def imports_of(file):
    """Names of the modules that a file imports at its top, in order."""
    names = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.append(node.module)
    return names


def test_who_needs_mmdetection_prepares_it_first():
    """Without its operators MMDetection binds others that fail, for good."""
    ready = {"mmdet_rank._stack", "mmdet_rank.register"}
    root = REPOSITORY / "mmdet_rank"
    looked_at = 0
    for file in sorted(root.rglob("*.py")):
        names = imports_of(file)
        needed = [name.split(".")[0] in ("mmdet", "mmcv", "mmseg") for name in names]
        if not any(needed):
            continue
        looked_at += 1
        packages = [folder / "__init__.py" for folder in file.parents if root in folder.parents]
        by_package = any(ready & set(imports_of(init)) for init in packages if init.is_file())
        assert by_package or ready & set(names[: needed.index(True)]), file
    assert looked_at > 50
