"""`simulate-active-learning`: writes figures, page and picture; refuses what cannot be played."""

from __future__ import annotations

import json

import pytest

SMALL = ("--batch-size", 2, "--patch-size", 32, "--longest-side", 32, "--channels", "4,4,4,4,4")
SHORT = ("--steps", 2, "--start", 1, "--rounds", 1, "--add", "2", "--seeds", "0")


@pytest.fixture
def simulate(cli, studies, tmp_path):
    """Return a function that plays a short simulation."""

    def run(*words, task="nuclei_vhllrhe"):
        plain = ("--studies", studies, "--out", tmp_path / "sim", "--test-share", 0.3)
        plain += ("--device", "cpu", "--precision", "fp32")
        return cli("simulate-active-learning", task, *plain, *words)

    return run


def test_figures_page_and_picture_are_written_and_nothing_is_repeated(simulate, tmp_path):
    words = (*SMALL, *SHORT, "--strategies", "random,diversity", "--json", tmp_path / "a.json")
    ended = simulate(*words, "--page", tmp_path / "a.md")
    assert ended.status == 0, ended.err
    assert "diversity does not beat random" in ended.out, "one seed cannot show that"
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["protocol"]["counts"] == [1, 3]
    assert report["protocol"]["task"]["network"]["channels"] == [4, 4, 4, 4, 4]
    assert report["protocol"]["task"]["training"]["steps"] == 2
    assert report["command"].startswith("python -m monailabel_app simulate-active-learning")
    assert str(tmp_path) not in report["command"]
    assert "[JSON](a.json)" in (tmp_path / "a.md").read_text()
    assert (tmp_path / "a.png").is_file()
    again = simulate(*words, "--jobs", 2)
    assert again.status == 0, again.err
    assert json.loads((tmp_path / "a.json").read_text())["strategies"] == report["strategies"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--strategies", "diversity"), "lack 'random'"),
        (("--strategies", "random,divers"), "did you mean 'diversity'"),
        (("--seeds", "a"), "--seeds 'a': expected numbers from 0, as in 0,1,2 or 0-4"),
        (("--channels", "8,16"), "one for each of 5 levels"),
        (("--add", "0"), "--add '0': expected numbers from 1"),
        (("--add", "2,4", "--rounds", 3), "--add '2,4' has 2 numbers for --rounds 3"),
        (("--start", 50), "the last round has 82 labels, the pool"),
    ],
)
def test_what_cannot_be_played_is_refused_in_one_line(simulate, words, reason):
    ended = simulate(*SMALL, *words)
    assert ended.status == 2
    assert reason in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_smaller_images_are_of_segmentation_only(simulate):
    ended = simulate("--longest-side", 64, task="density_birads")
    assert ended.status == 2
    assert "--longest-side and --channels are for segmentation" in ended.err
