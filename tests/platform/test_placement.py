"""How a cluster's resources are shared out for a recipe."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from fastdfkd.platform import placement
from fastdfkd.platform.placement import PlacementError, Plan, fitted, planned
from fastdfkd.recipe import Recipe, load_recipe

BARE: dict[str, Any] = {
    "name": "bare",
    "data": {"name": "digits"},
    "teacher": {"model": "resnet14"},
    "student": {"model": "resnet8-half"},
}


def bare(**platform: Any) -> Recipe:
    return Recipe.model_validate({**BARE, "platform": platform})


def roles(recipe: Recipe, **cluster: float) -> tuple[int, int, dict[str, float], dict[str, float]]:
    plan = Plan.of(fitted(recipe, cluster, min(cluster["CPU"], 16.0)), cluster)
    return plan.synthesizers, plan.workers, plan.synthesizer, plan.worker


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ({"CPU": 1.0}, (1, 0, {"CPU": 1.0}, {"CPU": 1.0})),
        ({"CPU": 2.0}, (1, 0, {"CPU": 1.0}, {"CPU": 1.0})),
        ({"CPU": 16.0}, (1, 0, {"CPU": 8.0}, {"CPU": 8.0})),
        ({"CPU": 160.0}, (1, 0, {"CPU": 8.0}, {"CPU": 8.0})),  # ten nodes
        ({"CPU": 16.0, "GPU": 1.0}, (1, 1, {"CPU": 1.0, "GPU": 0.5}, {"CPU": 1.0, "GPU": 0.5})),
        ({"CPU": 16.0, "GPU": 2.0}, (1, 1, {"CPU": 1.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 1.0})),
        ({"CPU": 64.0, "GPU": 8.0}, (4, 4, {"CPU": 1.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 1.0})),
    ],
)
def test_a_recipe_without_resource_settings_takes_the_whole_cluster(
    cluster: dict[str, float], expected: object
) -> None:
    assert roles(bare(), **cluster) == expected


def test_the_share_moves_the_split() -> None:
    assert roles(bare(synthesis_share=0.75), CPU=64, GPU=8)[:2] == (6, 2)
    assert roles(bare(synthesis_share=0.99), CPU=64, GPU=8)[:2] == (7, 1)
    one = roles(bare(synthesis_share=0.25), CPU=4, GPU=1)
    assert (one[2]["GPU"], one[3]["GPU"]) == (0.25, 0.75)
    assert roles(bare(synthesis_share=0.75), CPU=8)[2:] == ({"CPU": 6.0}, {"CPU": 2.0})


def test_values_set_in_the_recipe_stay() -> None:
    assert roles(bare(synthesizers=3), CPU=64, GPU=8)[:2] == (3, 4), "5 do not divide 256"
    assert roles(bare(workers=2), CPU=64, GPU=8)[:2] == (6, 2)
    assert roles(bare(synthesizers=2, workers=1), CPU=64, GPU=8)[:2] == (2, 1)
    assert roles(bare(device="cpu"), CPU=4, GPU=8) == (1, 0, {"CPU": 2.0}, {"CPU": 2.0})
    recipe = load_recipe("digits-fast5")
    assert fitted(recipe, {"CPU": 16.0}, 16.0) == recipe


def test_on_gpus_what_the_recipe_leaves_open_is_the_fast_setting() -> None:
    gpus = {"CPU": 16.0, "GPU": 1.0}
    chosen = {
        "teacher.precision": "auto",
        "platform.precision": "auto",
        "platform.cuda_graphs": "auto",
    }
    assert chosen.items() <= fitted(bare(), gpus, 16.0).flat().items()
    named = bare(precision="float32", cuda_graphs=False)
    found = fitted(named, gpus, 16.0).platform
    assert (found.precision, found.cuda_graphs) == ("float32", False)
    for recipe, cluster in ((bare(), {"CPU": 16.0}), (bare(device="cpu"), gpus)):
        kept = fitted(recipe, cluster, 16.0)
        assert (kept.platform.precision, kept.platform.cuda_graphs) == ("float32", False)
        assert kept.teacher.precision == "float32"


def test_in_lockstep_each_role_gets_the_whole_machine() -> None:
    assert roles(bare(schedule="lockstep"), CPU=8) == (1, 0, {"CPU": 8.0}, {"CPU": 8.0})
    shared = roles(bare(schedule="lockstep"), CPU=8, GPU=1)
    assert (shared[2]["GPU"], shared[3]["GPU"]) == (0.5, 0.5)


def test_a_fitted_recipe_written_and_read_again_is_fixed() -> None:
    recipe = fitted(bare(), {"CPU": 64.0, "GPU": 8.0}, 8.0)
    again = Recipe.model_validate(recipe.model_dump())
    assert fitted(again, {"CPU": 2.0, "GPU": 2.0}, 2.0) == recipe


def test_a_cluster_that_is_too_small_is_refused_with_both_figures() -> None:
    with pytest.raises(PlacementError, match=r"asks for 5 CPU .* the cluster has 4"):
        Plan.of(bare(synthesizers=5), {"CPU": 4.0})
    with pytest.raises(PlacementError, match=r"cluster has no GPU"):
        Plan.of(bare(device="cuda"), {"CPU": 4.0})


class Cluster:
    """A fake cluster that grows after `grows_after` queries."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, grows_after: int) -> None:
        self.queries, self.grows_after = 0, grows_after
        self.requests: list[list[dict[str, float]]] = []
        monkeypatch.setattr(placement, "cluster_resources", self.resources)
        monkeypatch.setattr(placement, "request_resources", self.request)
        monkeypatch.setattr(placement, "_POLL_SECONDS", 0.01)

    def resources(self) -> dict[str, float]:
        self.queries += 1
        return {"CPU": 8.0, "GPU": 4.0} if self.queries > self.grows_after else {"CPU": 1.0}

    def request(self, bundles: list[dict[str, float]]) -> None:
        self.requests.append(bundles)


def test_an_autoscaler_is_asked_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster(monkeypatch, 3)
    recipe = bare(synthesizers=2, workers=2, device="cuda", autoscale_timeout_s=60)
    with caplog.at_level(logging.WARNING):
        assert planned(recipe).workers == 2
    assert cluster.requests == [[{"CPU": 1.0, "GPU": 1.0}] * 4, []]
    assert "waiting for the autoscaler" in caplog.text


def test_an_autoscaler_that_adds_nothing_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(monkeypatch, 10**9)
    with pytest.raises(PlacementError, match="asks for 3 CPU"):
        planned(bare(synthesizers=3, autoscale_timeout_s=0.05))
    assert cluster.requests[-1] == []


def test_without_an_autoscaler_it_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, 10**9)
    with pytest.raises(PlacementError, match="autoscale_timeout_s"):
        planned(bare(synthesizers=3))
    assert cluster.requests == []


def test_a_bank_that_no_node_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "node_memory", lambda: 16e9)
    on_cpu, on_cuda = Plan.of(bare(), {"CPU": 4.0}), Plan.of(bare(), {"CPU": 4.0, "GPU": 2.0})
    placement.check_memory(on_cpu, int(16e9))
    placement.check_memory(on_cuda, int(1e12))  # Ray does not know a GPU's memory
    with pytest.raises(PlacementError, match=r"take 1,000\.0 GB .* has 16\.0 GB: set bank\.capa"):
        placement.check_memory(on_cpu, int(1e12))


def test_no_process_holds_a_gpu_that_it_cannot_use() -> None:
    plan = Plan.of(bare(synthesizers=4, workers=2), {"CPU": 64.0, "GPU": 16.0})
    assert (plan.synthesizer["GPU"], plan.worker["GPU"]) == (1.0, 1.0)
