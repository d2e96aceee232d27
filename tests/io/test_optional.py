"""Packages can be hidden from those who would import them just because they are there."""

import importlib.util
import sys

import pytest

from pairedit_sdk.io import optional


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "some_package.py").write_text("VALUE = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "some_package", raising=False)
    yield "some_package"
    sys.modules.pop("some_package", None)


def test_a_hidden_package_is_found_by_nobody_until_it_is_shown(package):
    optional.hide(package)
    assert importlib.util.find_spec(package) is None
    with pytest.raises(ModuleNotFoundError):
        __import__(package)
    optional.show(package)
    assert importlib.util.find_spec(package) is not None


def test_what_is_asked_for_is_imported_hidden_or_not(package):
    optional.hide(package)
    assert optional.imported(package).VALUE == 7
    assert optional.imported(package).VALUE == 7


def test_what_is_imported_already_stays(package):
    module = optional.imported(package)
    optional.hide(package)
    optional.show(package)
    assert sys.modules[package] is module
