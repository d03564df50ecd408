"""The page of config fields is the one that the classes give, and its examples are configs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tools.config_fields import page

from deeptrace.train.config_file import field_names
from deeptrace.train.grpo.config import GrpoConfig
from deeptrace.train.sft.config import SftConfig
from deeptrace.train.tracenet.config import TraceNetConfig

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "training-fields.md"


def tables() -> dict[str, dict[str, list[str]]]:
    """The cells of each field, by class and name, as the page has them."""
    found: dict[str, dict[str, list[str]]] = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        rows = [re.split(r"(?<!\\) ?\| ?", line)[1:-1] for line in section.splitlines() if line.startswith("| `")]
        found[section.partition("\n")[0]] = {row[0].strip("`"): row[1:] for row in rows}
    return found


def test_the_page_is_up_to_date() -> None:
    made = PAGE.read_text(encoding="utf-8")
    assert made == page(), "run: python tools/config_fields.py >docs/training-fields.md"


@pytest.mark.parametrize("kind", [SftConfig, GrpoConfig, TraceNetConfig])
def test_every_field_is_on_it_with_a_meaning(kind: type[SftConfig]) -> None:
    shown = tables()
    names = {name for name in field_names(kind) if "." not in name}
    assert shown[kind.__name__].keys() == names
    inner = {name.rpartition(".")[2] for name in field_names(kind) if "." in name}
    assert inner <= {name for table in shown.values() for name in table}
    assert all(len(cells) == 3 and all(cells) for table in shown.values() for cells in table.values())


def test_a_few_fields_as_people_read_them() -> None:
    shown = tables()
    assert shown["SftConfig"]["learning_rate"][:2] == ["number, above 0", "`1e-05`"]
    assert shown["SftConfig"]["data"][:2] == ["list of [DataPart](#datapart), at least 1", "**needed**"]
    assert shown["ModelSettings"]["tuning"][:2] == ['`"full"`, `"lora"`, `"qlora"`', '`"full"`']
    assert shown["SftConfig"]["pack_tokens"][:2] == ["whole number or null, at least 64", "`null`"]
    assert shown["TraceNetConfig"]["data"][:2] == ["folder or list of folder", "**needed**"]


KINDS = {"sft": "SftConfig", "grpo": "GrpoConfig", "tracenet": "TraceNetConfig"}
RECIPES = sorted(path for name in KINDS for path in (ROOT / "examples").glob(f"{name}*.json"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_use_only_what_is_on_it(recipe: Path) -> None:
    fields = json.loads(recipe.read_text(encoding="utf-8"))
    assert fields.keys() <= tables()[KINDS[recipe.stem.partition("_")[0]]].keys()
