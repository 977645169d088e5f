"""All settings of a tracker, in groups that stand beside the code that uses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from metatrack.geometry import SEARCH_SIZE
from metatrack.hints import hint
from metatrack.tracking.adaptation import AdaptationSettings
from metatrack.tracking.appearance import TemplateUpdateSettings
from metatrack.tracking.checked import Explained, check_value, fields_of
from metatrack.tracking.choice import BoxSearchSettings
from metatrack.tracking.distractors import DistractorSettings, ExclusionSettings
from metatrack.tracking.opinion import OpinionSettings
from metatrack.tracking.redetect import RedetectionSettings
from metatrack.tracking.search import ScaleSearchSettings, SearchSettings
from metatrack.tracking.target import JudgingSettings, MotionSettings

FLAT = {
    "scale_step": "scale_search.step",
    "scale_interval": "scale_search.interval",
    "scale_penalty": "scale_search.penalty",
    "scale_damping": "scale_search.damping",
    "shape_penalty": "box_search.shape_penalty",
    "size_rate": "box_search.size_rate",
    "window": "search.window",
    "window_form": "search.window_form",
    "upsample": "scale_search.upsample",
    "size_limits": "search.size_limits",
    "pyramid": "scale_search.pyramid",
    "update_interval": "adaptation.interval",
    "update_delay": "adaptation.delay",
    "update_threshold": "adaptation.min_score",
    "positive_radius": "adaptation.radius",
    "update_choice": "adaptation.choice",
    "update_keeps_first": "adaptation.keep_first",
    "update_counts_from": "adaptation.count_from",
    "update_role": "adaptation.role",
    "update_accepts": "adaptation.accept",
    "update_forgets": "adaptation.forget",
    "update_with_distractors": "adaptation.with_distractors",
    "update_span": "adaptation.span",
    "lost_below": "judging.lost_below",
    "unseen_below": "redetection.below",
    "search_wider": "redetection.enabled",
    "found_above": "redetection.min_score",
    "lost_after": "judging.lost_after",
    "recognised_from": "judging.recognised_from",
    "others_share": "distractors.factor",
    "others_above": "distractors.min_score",
    "template_share": "template_update.share",
    "template_rate": "template_update.rate",
    "template_interval": "template_update.interval",
    "template_threshold": "template_update.min_score",
    "near_size": "box_search.small_size",
    "near_interval": "box_search.small_interval",
    "near_motion": "box_search.small_motion",
    "near_above": "box_search.small_min_score",
    "size_trust": "box_search.size_trust",
    "motion_follows": "motion.follows",
    "motion_memory": "motion.memory",
    "motion_explained": "motion.explained",
    "motion_confirmed": "motion.confirmed",
    "opinion_weight": "opinion.weight",
    "alike_from": "opinion.alike_from",
    "exclusion_overlap": "exclusion.overlap",
}
"""Every setting: its flat name, which cards and scripts from before there were groups use, and its place, ``group.field``."""

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "paper.v1": {
        "search": {"window": 1.0, "window_form": "product"},
        "scale_search": {"pyramid": "search", "step": 1.05, "interval": 1, "penalty": 0.95, "damping": 0.60},
        "box_search": {"small_size": SEARCH_SIZE, "size_trust": 0.0},
        "template_update": {"share": 0.0},
        "distractors": {"factor": 1.0},
        "redetection": {"enabled": False, "below": 0.0},
        "motion": {"follows": 0.0, "explained": 0.0},
        "opinion": {"weight": 0.0},
        "exclusion": {"overlap": 1.0},
        "adaptation": {
            **{"interval": 90, "count_from": 1, "span": 1, "delay": 0, "min_score": 0.0},
            **{"choice": "sigmoid", "keep_first": False, "role": "all", "accept": False, "forget": False},
            **{"with_distractors": True},
        },
    },
}
"""Settings with a name. ``paper.v1``: what section 4.1 of the paper and Algorithm 1 say, and nothing that is not in them; with
the trunk ``paper``, the paper's tracker as printed."""


@dataclass(frozen=True, init=False)
class TrackerSettings(metaclass=Explained):
    """How a tracker searches, adapts and judges itself; a model's card may carry values of its own.

    A setting is given as ``group.field`` in a dictionary, with its group, or by its old name without a group; so is it read:

    >>> settings = TrackerSettings(window=0.3, adaptation={"interval": 30})
    >>> settings.search.window, settings.adaptation.interval, settings.update_interval
    (0.3, 30, 30)
    >>> TrackerSettings(**{"adaptation.interval": 30}) == TrackerSettings(update_interval=30)
    True

    Raises:
        ValueError: a name is unknown (the right one is suggested), or a value is of the wrong type or out of range.
    """

    # What each is for stands in its class.
    search: SearchSettings = SearchSettings()
    scale_search: ScaleSearchSettings = ScaleSearchSettings()
    box_search: BoxSearchSettings = BoxSearchSettings()
    template_update: TemplateUpdateSettings = TemplateUpdateSettings()
    distractors: DistractorSettings = DistractorSettings()
    redetection: RedetectionSettings = RedetectionSettings()
    adaptation: AdaptationSettings = AdaptationSettings()
    judging: JudgingSettings = JudgingSettings()
    motion: MotionSettings = MotionSettings()
    opinion: OpinionSettings = OpinionSettings()
    exclusion: ExclusionSettings = ExclusionSettings()

    def __init__(self, **values: Any) -> None:
        groups: dict[str, Any] = {name: getattr(type(self), name) for name in GROUPS}
        changes: dict[str, dict[str, Any]] = {name: {} for name in GROUPS}
        for name, value in values.items():
            if isinstance(value, GROUPS.get(name, ())):
                groups[name] = value
                continue
            for path, single in _singles(name, value):
                group, field = path.split(".")
                plain = tuple(single) if isinstance(single, list) else single
                check_value(name if name in FLAT else path, plain, fields_of(GROUPS[group])[field])
                changes[group][field] = plain
        for name, own in groups.items():
            object.__setattr__(self, name, replace(own, **changes[name]))

    def __getattr__(self, name: str) -> Any:
        """A setting by its old name."""
        if name not in FLAT:
            raise AttributeError(f"TrackerSettings has no {name!r}; {hint(name, [*GROUPS, *FLAT])}")
        group, field = FLAT[name].split(".")
        return getattr(getattr(self, group), field)

    @classmethod
    def preset(cls, name: str) -> TrackerSettings:
        """Settings with a name, one of :data:`PRESETS`.

        >>> TrackerSettings.preset("paper.v1").scale_search.interval
        1

        Raises:
            ValueError: there are none of that name.
        """
        if name not in PRESETS:
            raise ValueError(f"no preset {name!r}; {hint(name, [*PRESETS])}")
        return cls(**PRESETS[name])

    def flat(self) -> dict[str, Any]:
        """All values by their old names."""
        return {name: getattr(self, name) for name in FLAT}


GROUPS: dict[str, type[Any]] = {each.name: type(each.default) for each in fields(TrackerSettings)}  # the groups by name


def _singles(name: str, value: Any) -> list[tuple[str, Any]]:
    """What a name and a value that somebody gave mean: ``group.field`` and its value, several for a whole group."""
    if name in FLAT:
        return [(FLAT[name], value)]
    if name in GROUPS:
        if not isinstance(value, Mapping):
            known = ", ".join(fields_of(GROUPS[name]))
            raise ValueError(f"{name} {value!r} is a group of settings: give a dictionary of {known}")
        return [(_known(f"{name}.{field}"), single) for field, single in value.items()]
    return [(_known(name), value)]


def _known(path: str) -> str:
    alike = sorted(full for full in FLAT.values() if full.partition(".")[2] == path)
    if alike:
        raise ValueError(f"unknown tracker setting {path!r}; did you mean {' or '.join(map(repr, alike))}?")
    if path not in FLAT.values():
        raise ValueError(f"unknown tracker setting {path!r}; {hint(path, [*FLAT, *FLAT.values(), *GROUPS])}")
    return path
