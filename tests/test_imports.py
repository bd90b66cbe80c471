"""Who may import whom, and what nobody may: read from the source, so that imports inside functions count too."""

import ast
import pathlib
import sys

import pytest

import jaxgan

ROOT = pathlib.Path(jaxgan.__file__).parent
EXPERIMENTS = pathlib.Path(__file__).parent.parent / "experiments"

# The modules of jaxgan, packages as one, and the modules of jaxgan that each may import.
ARROWS = {
    "errors": set(),
    "watchdog": {"errors"},
    "processes": {"errors", "watchdog"},
    "largest": set(),
    "losses": {"largest"},
    "penalties": set(),
    "lift": set(),
    "layers": {"largest"},
    "render": set(),
    "transforms": {"penalties"},
    "network": set(),
    "stabilisers": {"network"},
    "players": set(),
    "latents": {"errors", "players"},
    "game": {"network", "players", "spread"},
    "spread": set(),
    "turns": {"game", "players"},
    "gan": {"game", "network", "players", "turns"},
    "joint": {"game", "gan", "players"},
    "stability": {"game", "players"},
    "networks": {"layers"},
    "metrics": {"errors"},
    "features": {"data", "errors", "layers"},
    "cache": set(),
    "data": {"cache", "errors"},
    "evaluation": {"data", "errors", "features", "metrics"},
    "coverage": {"data", "errors", "evaluation", "features", "metrics"},
    "experiment": {"coverage", "data", "errors", "evaluation", "gan", "render"},
    "commands": {"evaluation"},
    "options": {"commands", "errors", "experiment"},
    "run": {"experiment", "errors"},
    "checkpoint": {"errors", "leaves", "processes", "seal"},
    "leaves": set(),
    "augment": {"errors"},
    "schedules": set(),
    "seal": {"errors"},
    "signals": {"errors"},
    "guard": set(),
    "events": set(),
    "monitor": {"events", "render"},
    "schedule": {"errors"},
    "sampling": {"errors", "experiment", "players"},
    "report": {"experiment", "monitor", "sampling", "schedule"},
    "progress": {"checkpoint", "errors", "experiment", "guard", "monitor", "processes", "run", "schedule"},
    "chunks": {"lift", "data", "errors", "processes"},
    "preflight": {"run", "data", "errors", "experiment", "processes"},
    "train": {"checkpoint", "chunks", "guard", "monitor", "processes", "progress", "report", "run", "schedule"}
    | {"data", "errors", "evaluation", "experiment", "signals", "watchdog"},
    "population": {"chunks", "data", "errors", "gan", "lift", "signals"},
    "results": {"checkpoint", "progress", "render", "report", "run", "sampling"}
    | {"commands", "errors", "evaluation", "experiment", "features"},
    "startup": {"cache", "errors", "hardware"},
    "hardware": set(),
    "cost": set(),
    "comparison": {"errors"},
    "benchmark": {"chunks", "cost", "data", "gan", "guard", "hardware"},
    "doctor": {"cache", "checkpoint", "errors", "hardware", "lift", "monitor", "run"},
    "summary": set(),
    "sweep": {"checkpoint", "monitor", "population", "preflight", "progress", "report", "run", "summary"}
    | {"data", "errors", "evaluation", "experiment"},
}
ARROWS["cli"] = set(ARROWS)
OF_EXPERIMENTS = {"losses", "penalties", "transforms", "stabilisers", "networks", "data", "metrics", "experiment"}
OF_EXPERIMENTS |= {"augment", "evaluation", "game", "gan", "joint", "latents", "network", "schedules"}

# What the mathematics may load beside Python's own library.
PACKAGES = {
    "__init__": set(),
    "errors": set(),
    "watchdog": {"jax"},
    "processes": {"jax", "numpy"},
    "largest": {"jax"},
    "losses": {"jax"},
    "penalties": {"jax"},
    "lift": {"jax"},
    "network": {"jax"},
    "players": {"jax"},
    "latents": {"jax"},
    "game": {"jax", "optax"},
    "spread": {"jax"},
    "turns": {"jax"},
    "gan": {"jax", "optax"},
    "joint": {"jax", "optax"},
    "stability": {"jax", "numpy", "scipy"},
    "transforms": {"jax", "optax"},
    "augment": {"jax"},
    "schedules": {"jax"},
    "stabilisers": {"jax"},
    "metrics": {"numpy", "scipy"},
    "startup": {"jax"},
    "cache": set(),
    "hardware": {"jax"},
    "cost": {"jax", "numpy"},
    "comparison": set(),
    "layers": {"jax", "flax", "numpy"},
    "networks": {"jax", "flax"},
    "features": {"jax", "flax", "optax", "numpy"},
    "render": {"numpy", "PIL"},
}
# What takes seconds to load, or is not there for everybody: only inside the functions that need it.
HEAVY = {"tensorflow", "tensorflow_datasets", "grain", "sklearn", "requests", "torch"}

FILES = sorted(ROOT.rglob("*.py"))
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def module_of(path):
    """The module, or the package, that a file of jaxgan belongs to."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(nodes):
    """Absolute dotted names of everything that nodes import; names taken from a package are its modules."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write the import out: from jaxgan..."
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def ours(source):
    """The modules of jaxgan that a source imports; a public name counts as the module it lives in."""
    tree = ast.parse(source)
    taken = {name.split(".")[1] for name in imported(ast.walk(tree)) if name.startswith("jaxgan.")}
    # What is taken of the package itself (`jaxgan.make_gan` after `import jaxgan`) counts as well.
    taken |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "jaxgan"
    }
    return {jaxgan._HOMES.get(name, name) for name in taken} - {"__version__"}


def others(nodes):
    """The packages, other than Python's library and jaxgan, that nodes import."""
    return {name.split(".")[0] for name in imported(nodes)} - sys.stdlib_module_names - {"jaxgan"}


def test_every_module_has_its_place():
    found = {module_of(path) for path in FILES} - {"__init__"}
    assert found == set(ARROWS)
    assert not found & {"utils", "util", "common", "base", "helpers", "misc"}  # a name says what lives there


@every_file
def test_a_module_imports_what_its_arrows_say(path):
    module = module_of(path)
    # The package's own front imports nothing: it finds its names when they are first asked for.
    allowed = set() if module == "__init__" else ARROWS[module] | ({module} if path.parent != ROOT else set())
    assert ours(path.read_text()) <= allowed


def test_the_arrows_have_no_circle():
    left = dict(ARROWS)
    left["cli"] = left["cli"] - {"cli"}
    while left:
        free = {name for name, needs in left.items() if not needs & set(left)}
        assert free, f"a circle among {sorted(left)}"
        left = {name: needs for name, needs in left.items() if name not in free}


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.py")), ids=lambda path: path.name)
def test_an_experiment_imports_what_experiments_are_made_of(path):
    assert ours(path.read_text()) <= OF_EXPERIMENTS


def test_there_are_experiments():
    assert len(list(EXPERIMENTS.glob("*.py"))) >= 3


@every_file
def test_a_module_loads_no_more_packages_than_it_may(path):
    tree = ast.parse(path.read_text())
    if module_of(path) in PACKAGES:
        assert others(ast.walk(tree)) <= PACKAGES[module_of(path)]
    assert not others(tree.body) & HEAVY


@pytest.mark.parametrize(
    "source, modules",
    [
        ("import jaxgan.train", {"train"}),
        ("from jaxgan import lift, train as t", {"lift", "train"}),
        ("from jaxgan.data.arrays import digits", {"data"}),
        ("from jaxgan import make_gan, InputError", {"gan", "errors"}),
        ("def f():\n    from jaxgan.train import train", {"train"}),
        ("import jax, jaxganlike", set()),
        ("import jaxgan\njaxgan.make_gan(jaxgan.losses.hinge)", {"gan", "losses"}),
        ("import jaxgan\nversion = jaxgan.__version__", set()),
    ],
)
def test_the_reader_of_imports_finds_them(source, modules):
    assert ours(source) == modules


def test_relative_imports_are_found():
    with pytest.raises(AssertionError, match="write the import out"):
        ours("from . import train")


FORBIDDEN_PACKAGES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


def dangers(source):
    """Places of a source where reading a file could run what is in it."""
    tree, found = ast.parse(source), []
    found += [name for name in imported(ast.walk(tree)) if name.split(".")[0] in FORBIDDEN_PACKAGES]
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            if not (isinstance(node.value, ast.Constant) and node.value.value is False):
                found.append("allow_pickle")
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in FORBIDDEN_CALLS or called.split(".")[-1] in ("read_pickle", "unsafe_load", "full_load"):
            found.append(called)
        elif called == "yaml.load":
            found.append(called)
        elif called in ("np.load", "numpy.load", "jnp.load", "jax.numpy.load", "torch.load"):
            if "allow_pickle" not in {keyword.arg for keyword in node.keywords}:
                found.append(called)
    return found


@every_file
def test_no_file_that_is_read_can_run_code(path):
    assert dangers(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import dill as d",
        "def f():\n    import pickle",
        "eval(text)",
        "exec(text)",
        "yaml.load(text)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "pandas.read_pickle(path)",
        "np.lib.format.read_array(file, allow_pickle=True)",
    ],
)
def test_the_scan_finds_what_it_is_for(source):
    assert dangers(source)


@pytest.mark.parametrize(
    "source", ["np.load(path, allow_pickle=False)", "json.load(file)", "spec.loader.exec_module(m)", "re.compile('a')"]
)
def test_the_scan_finds_nothing_else(source):
    assert dangers(source) == []


def test_the_public_names_resolve():
    assert len(jaxgan.__all__) == len(set(jaxgan.__all__)) > 10
    assert set(jaxgan.__all__) <= set(dir(jaxgan))
    for name in jaxgan.__all__:
        value = getattr(jaxgan, name)
        assert value.__name__ == name
        assert value.__module__ in (f"jaxgan.{jaxgan._HOMES[name]}", f"jaxgan.{jaxgan._HOMES[name]}.__init__")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="jaxgan.*'nothing'"):
        jaxgan.nothing  # noqa: B018
    assert not hasattr(jaxgan, "trainer")
