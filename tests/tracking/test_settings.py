"""Settings: groups, their old names, and what is said of bad ones."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from metatrack import Tracker, TrackerSettings, shipped_models
from metatrack.runtime.bundle import open_bundle
from metatrack.tracking.adaptation import AdaptationSettings
from metatrack.tracking.checked import fields_of
from metatrack.tracking.search import SearchSettings
from metatrack.tracking.settings import FLAT, GROUPS

OTHER = {
    **{"pyramid": "template", "search_wider": False, "size_limits": (0.5, 2.0), "near_size": 191, "update_threshold": 0.5},
    **{
        "update_choice": "peak",
        "update_keeps_first": True,
        "update_role": "place",
        "update_accepts": False,
        "update_forgets": False,
        "update_with_distractors": True,
        "window_form": "product",
    },
}
"""Values that are not the defaults, of the settings for which a little more or less is none."""


def other(name):
    if name in OTHER:
        return OTHER[name]
    value = getattr(TrackerSettings(), name)
    return value + 1 if isinstance(value, int) else value * 0.96


@pytest.mark.parametrize("name", FLAT)
def test_every_old_name_is_still_taken_and_read(name):
    settings = TrackerSettings(**{name: other(name)})
    group, field = FLAT[name].split(".")
    assert getattr(settings, name) == getattr(getattr(settings, group), field) == other(name)
    assert settings == TrackerSettings(**{FLAT[name]: other(name)}) == TrackerSettings(**{group: {field: other(name)}})
    assert settings != TrackerSettings()
    assert settings.flat() == {**TrackerSettings().flat(), name: other(name)}
    assert TrackerSettings(**settings.flat()) == settings


def test_every_setting_has_one_place_and_an_old_name_and_a_line():
    paths = [f"{group}.{field}" for group, kind in GROUPS.items() for field in fields_of(kind)]
    assert sorted(FLAT.values()) == sorted(paths)


@pytest.mark.parametrize("model", shipped_models())
def test_the_cards_of_shipped_models_are_understood(model):
    values = open_bundle(model).card["tracking"]
    settings = {FLAT[name]: value for name, value in Tracker(model).settings.flat().items()}
    assert all(settings[FLAT.get(name, name)] == value for name, value in values.items())
    assert Tracker(model, settings={"adaptation.interval": 30}).settings == TrackerSettings(**values, update_interval=30)


def test_a_user_overrules_a_card_whichever_name_is_used():
    assert open_bundle("lite").card["tracking"]["window"] == 0.3
    for own in ({"window": 0.1}, {"search.window": 0.1}, {"search": {"window": 0.1}}, {"search": SearchSettings(window=0.1)}):
        settings = Tracker("lite", settings=own).settings
        assert settings.search.window == 0.1
        assert settings.near_size == 191


def test_a_group_and_single_values():
    own = AdaptationSettings(interval=30, delay=0)
    assert TrackerSettings(adaptation=own).adaptation == own
    assert TrackerSettings(update_delay=5, adaptation=own).adaptation == AdaptationSettings(interval=30, delay=5)
    changed = replace(TrackerSettings(adaptation=own, window=0.3), update_interval=40)  # type: ignore[call-arg]
    assert changed == TrackerSettings(update_interval=40, update_delay=0, window=0.3)


def test_settings_cannot_be_changed_and_can_be_copied():
    settings = TrackerSettings(window=0.3)
    for same in (copy.deepcopy(settings), pickle.loads(pickle.dumps(settings))):
        assert same == settings and hash(same) == hash(settings)
    with pytest.raises(FrozenInstanceError):
        settings.search = SearchSettings()  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        settings.search.window = 0.1  # type: ignore[misc]


def test_numbers_of_numpy_and_json_are_numbers():
    assert TrackerSettings(update_interval=np.int64(30), window=np.float32(0.5)).update_interval == 30
    settings = TrackerSettings(**json.loads(json.dumps(TrackerSettings(size_limits=(0.5, 2)).flat())))
    assert settings.size_limits == (0.5, 2)


def test_a_name_that_cannot_be_read_is_explained():
    with pytest.raises(AttributeError, match="did you mean 'update_interval'"):
        TrackerSettings().update_intervall  # noqa: B018


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale_stp": 1.1}, "did you mean 'scale_step'"),
        ({"window": 2}, "0..1"),
        ({"scale_step": 1.0}, "above 1"),
        ({"update_interval": 0}, "at least 1"),
        ({"size_limits": [2.0, 3.0]}, r"size_limits \(2.0, 3.0\) must enclose 1"),
        ({"size_limits": 3}, "size_limits 3 must be 2 numbers"),
        ({"size_limits": ["a", 3]}, "must be 2 numbers"),
        ({"update_interval": "30"}, "update_interval '30' must be a whole number"),
        ({"update_interval": 30.0}, "update_interval 30.0 must be a whole number"),
        ({"update_interval": True}, "update_interval True must be a number, not True or False"),
        ({"window": "0.3"}, "window '0.3' must be a finite number"),
        ({"window": float("nan")}, "window nan must be a finite number"),
        ({"window": None}, "window None must be a finite number"),
        ({"search_wider": "no"}, "search_wider 'no' must be True or False"),
        ({"pyramid": "both"}, "pyramid 'both' must be 'search' or 'template'"),
        ({"update_delay": -1}, "update_delay -1 must be at least 0"),
        ({"shape_penalty": -0.1}, "shape_penalty -0.1 must be at least 0"),
        ({"adaptation.interval": "30"}, "adaptation.interval '30' must be a whole number"),
        ({"adaptation": {"interval": 0}}, "adaptation.interval 0 must be at least 1"),
        ({"interval": 30}, "did you mean 'adaptation.interval' or 'scale_search.interval' or"),
        ({"window": 10**400}, "must be a finite number"),
        ({"adaptation": {"intervall": 5}}, "did you mean 'adaptation.interval'"),
        ({"adaptation.intervall": 5}, "did you mean 'adaptation.interval'"),
        ({"adaption": {"interval": 5}}, "did you mean 'adaptation'"),
        ({"adaptation": 30}, "adaptation 30 is a group of settings: give a dictionary of interval, count_from, span, delay"),
        ({"": 1}, "unknown tracker setting ''; known are"),
    ],
)
def test_bad_settings_are_explained(change, words):
    with pytest.raises(ValueError, match=words):
        TrackerSettings(**change)


def test_groups_check_themselves():
    with pytest.raises(ValueError, match="window 2 must lie in 0..1"):
        SearchSettings(window=2)
    with pytest.raises(ValueError, match="interval '30' must be a whole number"):
        AdaptationSettings(interval="30")  # type: ignore[arg-type]
