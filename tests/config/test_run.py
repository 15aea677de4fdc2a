"""Configurations: overlays from left to right, every mistake at once, in words."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from autolora_meta.bilevel.options import SearchOptions
from autolora_meta.config.overlay import shipped
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.device import usable_device
from autolora_meta.foundation.options import read


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refusal(*overlays: object) -> str:
    with pytest.raises(InputError) as caught:
        RunConfig.load(*overlays)  # type: ignore[arg-type]
    return str(caught.value)


def test_overlays_apply_from_left_to_right(tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.yaml", "name: mine\nsearch: {outer_steps: 7}\n")
    config = RunConfig.load("quickstart", mine, "search.outer_steps=8", "seed=3", "cg")
    assert (config.name, config.search.outer_steps, config.seed) == ("mine", 8, 3)
    assert config.search.hypergradient.method == "cg"
    assert config.data.train_rows == RunConfig.load("quickstart").data.train_rows
    assert RunConfig.load("quickstart", "search.outer_steps=8", mine).search.outer_steps == 7
    assert RunConfig.load("quickstart", {"lora": {"k": 3}}).lora.k == 3


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_config_is_valid_on_top_of_the_quickstart(name: str) -> None:
    config = RunConfig.load("quickstart", name)
    assert RunConfig.load(yaml.safe_load(config.to_yaml())) == config


@pytest.mark.parametrize("name", [name for name in ("quickstart", "paper") if name in shipped()])
def test_configs_of_a_whole_run_are_valid_alone(name: str) -> None:
    assert RunConfig.load(name).name


ABLATIONS = [name for name in shipped() if name.startswith("ablations/")]


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_lies_over_both_bases_as_its_head_says(name: str) -> None:
    text = files("autolora_meta.engine_configs").joinpath(f"{name}.yaml").read_text("utf-8")
    command = text.splitlines()[1].removeprefix("# autolora-meta run ").split()
    assert command[1] == name
    fragment = yaml.safe_load(text)
    for base in ("quickstart", "paper"):
        config = RunConfig.load(base, name)
        assert RunConfig.load(yaml.safe_load(config.to_yaml())) == config
        assert _holds(config.model_dump(mode="json"), fragment)
    assert _holds(RunConfig.load(*command).model_dump(mode="json"), fragment)


def _holds(resolved: Any, fragment: Any) -> bool:
    """Whether all that the fragment says stands in the resolved configuration."""
    if isinstance(resolved, dict) and isinstance(fragment, dict):
        return all(_holds(resolved[key], value) for key, value in fragment.items())
    if isinstance(resolved, dict):
        return resolved["method"] == fragment
    return resolved == fragment


def test_ablations_of_the_paper_are_what_it_ran() -> None:
    def over_paper(name: str) -> RunConfig:
        return RunConfig.load("paper", f"ablations/{name}")

    assert over_paper("no_sum_to_one").search.gates.constraint == "free"
    assert over_paper("no_sum_to_one").ranks == RunConfig.load("paper").ranks
    assert over_paper("no_look_ahead").search.hypergradient.method == "first_order"
    assert [over_paper(f"k{k}").lora.k for k in (2, 4, 8, 16)] == [2, 4, 8, 16]
    assert over_paper("sigmoid").search.gates.gate_sum == "k"  # of which its threshold is a half


def test_a_rule_that_is_set_drops_what_a_base_says_for_another_rule() -> None:
    paper = RunConfig.load("paper").ranks
    assert RunConfig.load("quickstart", "ranks.rule=paper").ranks == paper
    gap = RunConfig.load("quickstart", "ranks.rule=gap", "ranks.gap=3").ranks
    assert (gap.rule, gap.gap, gap.importance) == ("gap", 3, "layered")
    assert "budget" not in gap.model_dump()
    spent = RunConfig.load("paper", "ranks.rule=budget", "ranks.budget=20000").ranks
    assert (spent.rule, str(spent.budget), spent.importance) == (
        "budget",
        "20000 parameters",
        "alpha",
    )


def test_an_option_that_the_rule_does_not_read_is_refused() -> None:
    message = refusal("paper", "ranks.budget=20000")
    assert "ranks: budget 20000 parameters is given, and the rule threshold does not" in message
    assert "set rule to budget, or leave budget out" in message
    assert "set rule to threshold" in refusal("quickstart", "ranks.threshold=2")
    over = refusal("quickstart", "ranks.rule=paper", "ranks.importance=singular")
    assert "the rule paper reads importance alpha" in over


def test_the_paper_s_config_keeps_test_rows_apart_and_reports_its_metric() -> None:
    config = RunConfig.load("paper")
    assert config.data.overlap != "allow"
    assert config.data.name == "cola" and config.compare.metrics is None  # the benchmark's own


def test_the_resolved_config_as_a_file_is_the_same_config(tmp_path: Path) -> None:
    config = RunConfig.load(
        "quickstart", "neumann", "lora.targets=[query, value]", "ranks.budget=12345"
    )
    again = RunConfig.load(written(tmp_path / "config.yaml", config.to_yaml()))
    assert again == config
    assert again.to_yaml() == config.to_yaml()


@pytest.mark.parametrize(
    "overlays",
    [
        ["search.hypergradient={method: cg, iterations: 9}", "search.hypergradient=darts"],
        ["search.hypergradient={method: cg, iterations: 9}", "darts"],
        [
            "search.hypergradient.weight=2",
            "search.hypergradient={method: cg, iterations: 9}",
            "search.hypergradient.method=darts",
        ],
        ["search.hypergradient={solver: nystrom, products: finite_difference}", "darts"],
    ],
)
def test_setting_the_method_replaces_the_options_of_the_one_before(overlays: Sequence[str]) -> None:
    plain = RunConfig.load("quickstart", "search.hypergradient=darts")
    assert RunConfig.load("quickstart", *overlays).search == plain.search


def test_a_method_without_a_preset_is_put_together_from_solver_and_products() -> None:
    pair = "search.hypergradient={solver: nystrom, products: finite_difference}"
    chosen = RunConfig.load("quickstart", "cg", pair, "search.hypergradient.columns=3").search
    assert chosen.hypergradient.model_dump()["solver"] == "nystrom"
    assert chosen.hypergradient.model_dump()["products"] == "finite_difference"


def test_an_option_of_the_method_is_merged_into_it() -> None:
    config = RunConfig.load("quickstart", "cg", "search.hypergradient.iterations=9")
    assert config.search.hypergradient.method == "cg"
    assert config.search.hypergradient.model_dump()["iterations"] == 9


def test_all_mistakes_are_said_at_once_with_the_nearest_names() -> None:
    message = refusal(
        "quickstart",
        "seed=-1",
        "lora.k=0",
        "lora.tragets=[query]",
        "search.hypergradient=drats",
        "search.gates.constraint=softmx",
        "compare.arms=[learned, unifrm]",
        "compare.metrics=[acuracy]",
        "ranks.importance=alhpa",
        "task.type=regresion",
        "runtime.device=gpu",
        "serach.outer_steps=3",
    )
    for part in (
        "11 mistakes",
        "seed: should be greater than or equal to 0 (given: -1)",
        "lora.k: should be greater than or equal to 1 (given: 0)",
        "unknown key 'lora.tragets' (did you mean 'lora.targets'?)",
        "unknown hypergradient method 'drats' (did you mean 'darts'?)",
        "search.gates.constraint: should be 'softmax', 'sigmoid' or 'free' (given: 'softmx')",
        "unknown arm 'unifrm' (did you mean 'uniform'?)",
        "unknown metric 'acuracy' (did you mean 'accuracy'?)",
        "unknown importance 'alhpa' (did you mean 'alpha'?)",
        "task: unknown task 'regresion' (did you mean 'regression'?)",
        "runtime.device: 'gpu' is not a device; allowed: auto",
        "unknown key 'serach' (did you mean 'search'?)",
    ):
        assert part in message, part
    assert len(message.splitlines()) == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("search.hypergradient={method: cg, iteratons: 3}", "did you mean 'iterations'"),
        ("search.hypergradient.iterations=3", "option 'iterations' belongs to .*cg.*not to darts"),
        ("search.hypergradient={solver: nystrom, products: x}", "unknown products 'x'"),
        ("search.hypergradient.solver=nistrom", "unknown solver 'nistrom' .did you mean 'nystrom'"),
        ("search.problem=autolroa", "unknown problem 'autolroa' .did you mean 'autolora'"),
        ("search=3", r"search is a section; allowed keys: .*outer_steps.*\(given: 3\)"),
        ("search.inner.learning_rate=.inf", "learning_rate: should be a finite number"),
        ("search.inner.learning_rate=.nan", "learning_rate: should be a finite number"),
        ("data.train_rows=1.5", "data.train_rows: 1.5 is not allowed; allowed: .*share below 1"),
        ("ranks.budget=uniform:0", "'uniform:0' is not a budget; allowed: .*total-rank:N"),
        ("ranks.budget=0", "'0' is not a budget"),
        ("ranks.budget=0.5", "ranks.budget: 0.5 is not allowed; allowed: .*uniform:R"),
        ("ranks.min_rank=9", "min_rank 9 is above k = 4"),
        ("ranks.max_rank=9", "max_rank 9 is above k = 4"),
        ("ranks={min_rank: 3, max_rank: 2}", "min_rank 3 is above max_rank 2"),
        ("name=../mine", "'../mine' cannot name a folder"),
        ("name=..", "'..' cannot name a folder"),
        ("compare.arms=learned", "compare.arms: should be a list"),
        ("compare.arms=[uniform, frozen]", "`learned` is not among them"),
        ("compare.arms=[learned, frozen]", "baseline 'uniform' is not among them"),
        ("compare.arms=[learned, uniform, uniform]", "names one twice"),
        ("compare.metrics=[]", "compare.metrics"),
        ("compare.replicates=0", "compare.replicates: should be greater than or equal to 1"),
        ("runtime.device=cuda:x", "'cuda:x' is not a device"),
        ("=3", "unknown key ''"),
        ("lora=", "lora is a section; allowed keys: k,"),
    ],
)
def test_a_mistake_is_explained(change: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunConfig.load("quickstart", "lora.k=4", "search.hypergradient=darts", change)


def test_keys_without_a_default_are_named() -> None:
    message = refusal("cg")
    assert "3 mistakes" in message
    assert "name is missing: Name of the run's folder" in message
    assert "model is missing: a section with name," in message
    assert "data is missing: a section with source," in message


def test_names_that_look_like_numbers_are_names() -> None:
    config = RunConfig.load(
        "quickstart", "name=2024", "data.text=1", "data.label=2", "lora.targets=[0, 2]"
    )
    assert (config.name, config.data.text, config.data.label) == ("2024", "1", "2")
    assert config.lora.targets == ("0", "2")
    assert RunConfig.load("quickstart", "search.inner.learning_rate=1e-3").search.inner == (
        RunConfig.load("quickstart", "search.inner.learning_rate=0.001").search.inner
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: [mine\n", "not valid YAML"),
        (b"name: a\x07b\n", "not valid YAML"),
        (b"name: a\nlora: {k: 3}\nlora: {k: 4}\n", "lora stands twice"),
        (b"", "holds nothing"),
        (b"- quickstart\n", "holds list"),
        (b"name: caf\xe9\n", "cannot be read as UTF-8 text"),
        (b"name: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_files_that_are_no_config(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    text = refusal("quickstart", path)
    assert message in text
    assert "mine.yaml" in text and "unicode string" not in text


def test_configs_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "unknown config 'quikstart' (did you mean 'quickstart'?)" in refusal("quikstart")
    assert "there is no file mine.yaml" in refusal("quickstart", "mine.yaml")
    assert "is a folder" in refusal(tmp_path)
    assert "unknown key" in refusal("quickstart", "x" * 5000 + "=1")  # no path is so long

    def forbidden(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    mine = written(tmp_path / "mine.yaml", "name: mine\n")
    monkeypatch.setattr(Path, "read_bytes", forbidden)
    assert "mine.yaml cannot be read" in refusal(mine)


def test_devices_that_are_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert usable_device("auto") == "cpu"
    for name in ("cuda", "cuda:1"):
        with pytest.raises(InputError, match=f"'{name}', and torch sees no CUDA device"):
            usable_device(name)
    with pytest.raises(InputError, match="no MPS"):
        usable_device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (usable_device("auto"), usable_device("cuda:1")) == ("cuda", "cuda:1")
    with pytest.raises(InputError, match="torch sees 2 CUDA devices"):
        usable_device("cuda:2")
    with pytest.raises(InputError, match="is not a device"):
        usable_device("gpu")


def test_options_of_one_wing_are_explained_in_the_same_way() -> None:
    with pytest.raises(InputError, match=r"(?s)options has 2 mistakes.*outer_steps.*inner\.lr"):
        read(SearchOptions, {"inner": {"lr": 1}, "outer_steps": 0}, "options")


@pytest.mark.parametrize(("fast", "found"), [(True, "bf16"), (False, "float32")])
def test_auto_precision_becomes_what_this_machine_does_fast(
    monkeypatch: pytest.MonkeyPatch, fast: bool, found: str
) -> None:
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: fast)
    auto = ("search.precision=auto", "retrain.precision=auto", "runtime.device=cpu")
    config = RunConfig.load("quickstart", *auto)
    assert (config.search.precision, config.retrain.precision) == (found, found)
    # What is written down is what was done, on any machine that reads it.
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: not fast)
    assert RunConfig.load(config.model_dump(mode="json")).retrain.precision == found
