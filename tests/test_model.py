"""A model whose options are chosen: what its functions are given, opened files, figures, shapes."""

from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import model
from minidl.errors import UserError
from minidl.losses import Sum
from minidl.model import Model, shape_for

OPTIONS = {"kind": "plain", "share": 1.0, "count": 3}


def module(**parts):
    """As a file of a user's, with one function that says what it is given."""

    def random_target(output, generator, *, kind="own", share=0.0):
        return output, kind, share

    return SimpleNamespace(
        __name__="mine", FIELDS=("data", "{kind}"), random_target=random_target, **parts
    )


def test_the_models_that_are_installed_are_found():
    assert {"hep", "climate"} <= set(model.installed())
    for name in ("hep", "climate"):
        assert model.load(name).__name__ == f"minidl_models.{name}"


def test_options_are_the_module_s_unless_chosen():
    assert Model(module(OPTIONS=OPTIONS)).options == OPTIONS
    chosen = Model(module(OPTIONS=OPTIONS), {"count": 7})
    assert chosen.options == {**OPTIONS, "count": 7}
    assert OPTIONS["count"] == 3


def test_a_module_may_have_no_options():
    plain = Model(module())
    assert plain.options == {}
    assert plain.random_target("data", None) == ("data", "own", 0.0)


@given(share=st.floats(allow_nan=False), count=st.integers(), kind=st.text())
def test_options_may_come_as_text(share, count, kind):
    """As the command line and settings.json have them."""
    values = {"share": share, "count": count, "kind": kind}
    text = {name: str(value) for name, value in values.items()}
    found = Model(module(OPTIONS=OPTIONS), text).options
    assert found == values
    assert [type(found[name]) for name in values] == [float, int, str]


def test_an_option_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(UserError, match="mine has no option --sort; it has: --kind, --share"):
        Model(module(OPTIONS=OPTIONS), {"sort": "x"})
    with pytest.raises(UserError, match="it has: none"):
        Model(module(), {"sort": "x"})


@pytest.mark.parametrize(("name", "value"), [("share", "half"), ("count", "2.5"), ("count", "")])
def test_a_value_of_another_type_is_refused(name, value):
    with pytest.raises(UserError, match=f"--{name} {value}: expected a value like"):
        Model(module(OPTIONS=OPTIONS), {name: value})


def test_functions_are_given_the_options_that_they_name_and_no_others():
    chosen = Model(module(OPTIONS=OPTIONS), {"kind": "odd", "count": 9})
    assert chosen.random_target("data", None) == ("data", "odd", 1.0)


def test_functions_are_given_what_was_measured_too():
    def report(figures, *, kind, mean):
        return figures, kind, mean

    def measure(dataset, tell):
        tell(f"measuring {dataset}")
        return {"mean": [1.5]}

    said = []
    chosen = Model(module(OPTIONS=OPTIONS, report=report, measure=measure))
    chosen.measure_on("data", said.append)
    assert said == ["measuring data"]
    assert chosen.report("x") == ("x", "plain", [1.5])
    assert chosen.random_target("data", None) == ("data", "plain", 1.0)


def test_a_model_without_a_measure_measures_nothing():
    plain = Model(module())
    plain.measure_on("data", print)
    assert plain.measured == {}


def test_what_is_no_function_is_the_module_s_own_and_what_is_missing_is_missing():
    chosen = Model(module(GAPS=("data",)))
    assert chosen.GAPS == ("data",)
    assert chosen.__name__ == "mine"
    assert not hasattr(chosen, "metrics")


def test_files_are_opened_with_the_array_that_an_option_names(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"], file["plain"], file["odd"] = np.zeros((3, 4, 5))
        file["data"][1] = np.nan
    whole = Model(module(OPTIONS=OPTIONS, GAPS=("data",)), {"kind": "odd"})
    dataset = whole.open([tmp_path / "a.h5"])
    assert dataset.fields == ("data", "odd")
    assert np.isnan(dataset.read(np.array([1]))["data"]).all()
    with pytest.raises(UserError, match="not a finite number"):
        Model(module(OPTIONS=OPTIONS)).open([tmp_path / "a.h5"]).read(np.array([1]))


def test_figures_are_the_loss_its_terms_and_the_metrics():
    def plain(output, target):
        return output - target, output

    def summed(output, target, *, share):
        return Sum({"one": output * share, "two": target}), output

    def metrics(output, target):
        return {"accuracy": 0.5}

    assert Model(module(loss=plain)).figures(5.0, 2.0) == {"loss": 3.0}
    both = Model(module(OPTIONS=OPTIONS, loss=summed, metrics=metrics), {"share": 2})
    figures = both.figures(5.0, 1.0)
    assert figures == {"loss": 11.0, "one": 10.0, "two": 1.0, "accuracy": 0.5}
    assert type(figures["loss"]) is float


def test_shapes_are_as_asked_for_else_as_the_model_is_meant_for():
    fields = module(SHAPE=(768, 512, 16), SMALL_SHAPE=(64, 32, 16))
    assert shape_for(fields, None, None) == (768, 512, 16)
    assert shape_for(fields, None, None, small=True) == (64, 32, 16)
    assert shape_for(fields, 96, None) == (96, 96, 16)
    assert shape_for(Model(fields), None, 4, small=True) == (64, 32, 4)
    assert shape_for(module(), None, None) == (224, 224, 3)
    assert shape_for(module(), None, 5, small=True) == (16, 16, 5)
