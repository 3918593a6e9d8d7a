import pickle
import subprocess
import sys
import textwrap

import pytest
import torch
from ray import cloudpickle

from fastdfkd.models import SourceFile, source_files
from fastdfkd.recipe import RecipeError, load_recipe
from fastdfkd.recipe.source_texts import given

from .builders import NETWORK_FILE, open_model, write_network


def test_a_builder_in_a_file_builds(tmp_path, monkeypatch):
    path = write_network(tmp_path)
    images = torch.randn(2, 1, 8, 8)
    assert open_model(f"{path}:build", 7, (1, 8, 8)).network(images).shape == (2, 7)
    monkeypatch.chdir(tmp_path)
    network = open_model("nets/small.py:build", 7, (1, 8, 8), arguments={"width": 4}).network
    assert network(images).shape == (2, 7)
    assert network.head.in_features == 4


def test_positional_arguments_come_first(tmp_path):
    path = write_network(tmp_path)
    network = open_model(f"{path}:Small", 5, positional=[5, 3], arguments={"width": 4}).network
    assert network(torch.randn(2, 3, 8, 8)).shape == (2, 5)
    network = open_model(f"{path}:build", 5, positional=[6]).network
    assert network.head.out_features == 6, "what is given by position is not given by name"


def test_a_static_method_in_a_file_is_a_builder(tmp_path):
    text = (
        NETWORK_FILE
        + """

class Zoo:
    @staticmethod
    def small(num_classes):
        return build(num_classes, width=4)
"""
    )
    path = write_network(tmp_path, text)
    assert open_model(f"{path}:Zoo.small", 7).network.head.in_features == 4


def test_nothing_of_the_file_is_left_importable_by_its_own_name(tmp_path):
    path = write_network(tmp_path)
    open_model(f"{path}:build")
    assert "small" not in sys.modules
    assert str(path.parent) not in sys.path


def test_a_changed_file_is_another_module(tmp_path):
    path = write_network(tmp_path)
    first = open_model(f"{path}:build").network
    path.write_text(NETWORK_FILE.replace("width=8", "width=16"))
    assert open_model(f"{path}:build").network.head.in_features == 16
    assert first.head.in_features == 8
    assert pickle.loads(pickle.dumps(first)).head.in_features == 8


def test_a_process_without_the_file_gets_its_classes_first(tmp_path):
    path = write_network(tmp_path)
    network = open_model(f"{path}:build").network
    sent = cloudpickle.dumps((SourceFile(str(path), path.read_text()), network))
    (tmp_path / "sent").write_bytes(sent)
    path.unlink()
    code = f"""
        import inspect, pickle, torch
        network = pickle.load(open({str(tmp_path / "sent")!r}, "rb"))[1]
        assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 10)
        assert "class Small" in inspect.getsource(type(network))
        assert type(pickle.loads(pickle.dumps(network))) is type(network)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_given_texts_come_before_the_disk(tmp_path):
    path = write_network(tmp_path)
    with given({str(path): NETWORK_FILE.replace("width=8", "width=2")}):
        assert open_model(f"{path}:build").network.head.in_features == 2
    assert open_model(f"{path}:build").network.head.in_features == 8


def test_a_recipes_files_are_known_by_role(tiny_recipe, tmp_path):
    path = write_network(tmp_path)
    recipe = load_recipe(tiny_recipe(), {"student.model": f"{path}:build"})
    assert [file.path for file in source_files(recipe)] == [str(path)]
    assert source_files(recipe, "teacher") == ()


def test_dataclasses_and_traces_of_a_file_work(tmp_path):
    text = """
        import dataclasses
        @dataclasses.dataclass
        class Size:
            width: "int" = 3
        def build(num_classes):
            raise RuntimeError(f"of {Size()}")
    """
    path = write_network(tmp_path, textwrap.dedent(text))
    with pytest.raises(RecipeError, match=r"its builder raised RuntimeError: of Size\(width=3\)"):
        open_model(f"{path}:build")


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (NETWORK_FILE, "bild", r"small\.py: 'bild': unknown, did you mean build\?"),
        ("import no_such_thing", "build", r"No module named.*not what lies beside it"),
        ("def build(:", "build", r"cannot be run \(SyntaxError: .* in line 1\)"),
        ("1 / 0", "build", r"ZeroDivisionError: division by zero"),
        ("raise SystemExit(2)", "build", r"SystemExit: 2\); it ends the program.*__main__"),
        ("build = 3", "build", r"'build': unknown"),
        (NETWORK_FILE, "Small", r"missing a required argument: 'classes'.*`positional`"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, text, name, message):
    path = write_network(tmp_path, text)
    with pytest.raises(RecipeError, match=rf"(?s)teacher\.model: .*{message}"):
        open_model(f"{path}:{name}")


def test_files_that_are_not_there_or_no_python(tmp_path):
    with pytest.raises(RecipeError, match=r"no file '.*absent\.py'.* \(looked in "):
        open_model(f"{tmp_path}/absent.py:build")
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n")
    with pytest.raises(RecipeError, match=r"expected a Python file in UTF-8"):
        open_model(f"{tmp_path}/latin.py:build")
    with pytest.raises(RecipeError, match=r"expected a builder in it, .*small\.py:BUILDER"):
        open_model(str(write_network(tmp_path)))
