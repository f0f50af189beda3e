"""What editors offer: names, parameters and types of all that is public."""

import inspect
import types

import jedi
import pytest

import gdtrain

MODULES = [gdtrain] + [
    getattr(gdtrain, name)
    for name in gdtrain.__all__
    if isinstance(getattr(gdtrain, name), types.ModuleType)
]
PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in MODULES
    for name in module.__all__
    if not isinstance(getattr(module, name), types.ModuleType)
}
# For each kind of thing; all of them would take minutes.
SHOWN = [
    "gdtrain.callbacks.Telemetry",
    "gdtrain.callbacks.TensorBoard",
    "gdtrain.curvature",
    "gdtrain.diagnose",
    "gdtrain.distributed.strategy",
    "gdtrain.images.fine_tune",
    "gdtrain.plots.FittedLine",
    "gdtrain.schedules.OneCycle",
    "gdtrain.writers.CSVWriter",
]


def functions(subject):
    """A function itself, or the methods of a class that are gdtrain's own."""
    if not inspect.isclass(subject):
        return [("", subject)]
    found = []
    for name, value in vars(subject).items():
        if name.startswith("_") and name not in ("__init__", "__call__"):
            continue
        if name == "__init__" and getattr(subject, "_is_protocol", False):
            continue  # Python's own
        if isinstance(value, property):
            value = value.fget
        value = getattr(value, "__func__", value)  # Of a class method
        if inspect.isfunction(value):
            found.append((name, value))
    return found


def missing(function):
    """Which annotations a function lacks."""
    signature = inspect.signature(function)
    first = next(iter(signature.parameters), None)
    found = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.annotation is parameter.empty
        and not (name == first and name in ("self", "cls"))
    ]
    if signature.return_annotation is signature.empty:
        found.append("return")
    return found


def test_public_names_were_found():
    assert len(MODULES) == 10 and len(PUBLIC) > 100


@pytest.mark.parametrize("name", PUBLIC)
def test_parameters_and_returns_are_annotated(name):
    lacking = {
        method: found
        for method, function in functions(PUBLIC[name])
        if (found := missing(function))
    }
    assert lacking == {}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_module_completes_to_all_of_its_names(module):
    """From the text alone, and where the module is live, as in a notebook."""
    program = f"{module.__name__}."
    names = set(module.__all__)
    in_editor = jedi.Script(f"import gdtrain\n{program}").complete()
    assert names <= {completion.name for completion in in_editor}
    in_notebook = jedi.Interpreter(program, [{"gdtrain": gdtrain}]).complete()
    assert names <= {completion.name for completion in in_notebook}


@pytest.mark.parametrize("name", SHOWN)
def test_signature_and_docstring_are_shown(name):
    (shown,) = jedi.Script(f"import gdtrain\n{name}(").get_signatures()
    expected = list(inspect.signature(PUBLIC[name]).parameters)
    assert [parameter.name for parameter in shown.params] == expected
    first_line = inspect.getdoc(PUBLIC[name]).splitlines()[0]
    assert shown.docstring(raw=True).startswith(first_line)
    for parameter in shown.params:
        assert ":" in parameter.description, parameter.description


def test_arguments_of_fit_are_shown_in_a_notebook():
    model = gdtrain.Sequential()
    program = jedi.Interpreter("model.fit(", [{"model": model}])
    (shown,) = program.get_signatures()
    expected = list(inspect.signature(model.fit).parameters)
    assert "steps_per_epoch" in expected
    assert [parameter.name for parameter in shown.params] == expected


PROGRAM = """
import gdtrain
telemetry = gdtrain.callbacks.Telemetry()
diagnosis = gdtrain.diagnose(telemetry)
found = gdtrain.find_learning_rate(None, None)
photos = gdtrain.images.read_folder("photos")
classifier = gdtrain.images.fine_tune(photos, None)
"""


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("telemetry", {"steps", "save", "table"}),
        ("diagnosis", {"verdicts", "as_dict"}),
        ("diagnosis.verdict", {"name", "confidence", "advice", "changes"}),
        ("found", {"learning_rates", "suggestions"}),
        ("photos", {"training", "held_out", "class_names"}),
        ("classifier", {"classify", "describe", "save", "fit"}),
    ],
)
def test_results_complete_to_their_attributes(expression, expected):
    script = jedi.Script(f"{PROGRAM}{expression}.")
    assert expected <= {completion.name for completion in script.complete()}
