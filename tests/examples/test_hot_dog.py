"""`examples/hot_dog.py`, with a small backbone."""

import re

import hot_dog
import pytest

import gdtrain
from gdtrain.common.explained import without_more
from tests.images.photos import draw_photo, make_photos, save_backbone


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    path = tmp_path_factory.mktemp("backbone") / "small.keras"
    save_backbone(path, 224, strides=8)
    return str(path)


def test_a_folder_in_and_hot_dog_out(backbone, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = make_photos(tmp_path / "data", 15)
    draw_photo(True, (300, 180), "RGB").save(tmp_path / "new.png")
    output, photo = tmp_path / "output", str(tmp_path / "new.png")
    arguments = [str(folder), photo, "--backbone", backbone]
    hot_dog.main([*arguments, "--output", str(output)])
    printed = capsys.readouterr().out
    *_, last = printed.splitlines()
    answer = r"(hot dog \([01]\.\d\d\)|none of these \(nearest: hot dog\))"
    assert re.fullmatch(re.escape(photo) + ": " + answer, last)
    assert "held-out photos are right: accuracy" in printed
    model = gdtrain.images.load(output / "model.keras")
    assert model.class_names == ["hot dog", "not hot dog"]
    assert (output / "logs" / "report.html").is_file()


def test_a_missing_folder_is_said_in_a_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        hot_dog.main([str(tmp_path / "none"), "--output", str(tmp_path / "o")])
    assert caught.value.code == 2
    said, page = without_more(capsys.readouterr().err)
    assert re.fullmatch(r"error: .*none.*", said)
    assert page.endswith(" photo-folders\n")
    assert not (tmp_path / "o").exists()
