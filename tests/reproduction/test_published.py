from __future__ import annotations

import re

import pytest
from torchvision.models import get_model_weights

from fastdfkd.reproduction.published import Table, published

# The paper's figures of one row and one column, written down a second time on purpose.
DAFL_10 = ((92.22, 81.10, 65.71, 81.33, 81.55), (2.73, 0.73, 1.73, 1.53, 1.60))
COLUMN_100 = {"deep-inversion": 61.34, "cmi": 68.75, "zskt": 54.59, "dfq": 64.79, "fast10": 65.12}


def test_the_published_figures_are_those_of_the_paper() -> None:
    row = published().table("cifar10").rows["dafl"]
    assert (row.accuracy, row.hours) == DAFL_10
    table = published().table("cifar100")
    found = {name: table.cell(name, "wrn-40-2/wrn-16-2").accuracy for name in COLUMN_100}
    assert found == COLUMN_100


def test_the_row_of_nyuv2_is_of_mean_iou() -> None:
    table = published().table("nyuv2")
    assert (table.figure, table.figure_name) == ("mean_iou", "mIoU")
    assert (table.teacher, table.trained) == ((51.7,), (38.0,))
    found = {cell.row: (cell.accuracy, cell.hours) for cell in table.cells()}
    assert found == {"dafl": (10.5, 3.99), "dfad": (36.4, None), "fast10": (36.6, 0.82)}


def test_the_networks_of_imagenet_have_torchvisions_own_figures() -> None:
    table = published().table("imagenet")
    taught = [pair.split("/") for pair in table.pairs]
    for column, figures in enumerate([table.teacher, table.trained]):
        stated = [_first_weights(networks[column]) for networks in taught]
        assert figures == pytest.approx(stated, abs=0.005)


def _first_weights(network: str) -> float:
    """Accuracy on ImageNet in percent that torchvision states for its first weights."""
    weights = get_model_weights(network)["IMAGENET1K_V1"]
    return float(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"])


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_published_speed_ups_are_means_of_the_published_hours(name: str) -> None:
    """Hours are rounded to a hundredth, so the fast rows agree roughly only."""
    table = published().table(name)
    reference = table.rows["deep-inversion"].hours
    for key, row in table.rows.items():
        if row.speed_up is None:
            continue
        ratios = [a / b for a, b in zip(reference, row.hours, strict=True) if a and b]
        within = 0.35 if key.startswith("fast") else 0.05
        assert sum(ratios) / len(ratios) == pytest.approx(row.speed_up, rel=within), key


def test_cells_of_some_rows_and_pairs_come_in_the_order_of_the_table() -> None:
    table = published().table("cifar10")
    cells = list(table.cells(["fast5", "cmi"], ["wrn-40-2/wrn-16-2", "vgg11/resnet18"]))
    assert [(cell.row, cell.pair) for cell in cells] == [
        ("cmi", "vgg11/resnet18"),
        ("cmi", "wrn-40-2/wrn-16-2"),
        ("fast5", "vgg11/resnet18"),
        ("fast5", "wrn-40-2/wrn-16-2"),
    ]
    assert cells[0].recipe == "cifar10-vgg11-resnet18-cmi"
    assert (cells[0].accuracy, cells[0].hours) == (91.13, 11.6)
    assert len(list(table.cells())) == 45


@pytest.mark.parametrize(
    ("rows", "pairs", "message"),
    [
        (["fast3"], [], "--rows: 'fast3' in CIFAR-10: unknown, did you mean fast5"),
        ([], ["wrn-40-2"], "--pairs: 'wrn-40-2' in CIFAR-10: unknown"),
    ],
)
def test_an_unknown_row_or_pair_is_one_message(
    rows: list[str], pairs: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        list(published().table("cifar10").cells(rows, pairs))


def test_an_unknown_table_is_one_message() -> None:
    with pytest.raises(ValueError, match="table 'cifar': unknown, did you mean cifar10"):
        published().table("cifar")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": {"a": {"label": "A", "accuracy": [1.0]}}}, "expected 2 figures"),
        ({"reference": "b"}, "expected a row"),
        ({"rows": {"a": {"label": "A", "notes": {"x/y": "?"}}}}, "expected pairs"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_table_that_does_not_fit_itself_is_refused(changes: dict, message: str) -> None:
    good = {
        "title": "T",
        "data": "digits",
        "recipe": "digits-{row}",
        "pairs": ["a/b", "c/d"],
        "rows": {"a": {"label": "A"}},
    }
    assert Table.model_validate(good).rows
    with pytest.raises(ValueError, match=message):
        Table.model_validate({**good, **changes})
