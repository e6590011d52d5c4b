"""difficulty: a loop of one's own, its records, and what is said of them."""

import polars as pl
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from crest import LossBatchSampler, artifacts
from crest.analysis.difficulty import difficulty_table
from crest.data.files import open_array
from crest.errors import ArtifactError
from stages import difficulty
from tests.stages import synthetic_artifacts as made_up
from tests.test_mislabelled import flip

STEPS, BATCH = 140, 64
FILES = {
    "difficulty.parquet", "hardest.csv", "mislabelled.csv", "report.html", "seen_by_loss.png",
    "times_forgotten.png",
}  # fmt: skip


@pytest.fixture
def undrawn(monkeypatch):
    """Leave out the pictures, which take most of the time."""
    monkeypatch.setattr(difficulty, "record_pictures", lambda *_: [])


@pytest.fixture
def losses_only(tmp_path):
    """Records of training without labels, such as of a language model."""
    made = LossBatchSampler(40, 4, 30, record=True, lag=4)
    for batch in made:
        made.update(batch, torch.tensor(batch) / 8)
    made.save(tmp_path / "mine")
    return tmp_path / "mine"


def train(images, labels):
    """A plain loop with the sampler; returns it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    made = LossBatchSampler(len(labels), BATCH, STEPS, record=True)
    for batch in made:
        logits, targets = model(images[batch]), labels[batch]
        losses = F.cross_entropy(logits, targets, reduction="none")
        optimizer.zero_grad()
        made.mean(losses).backward()
        optimizer.step()
        classes = logits.argmax(1)
        made.update(batch, losses, classes == targets, classes)
    return made


# Over five seeds, of all bundled digits, at least 0.92 of as many as were flipped are, and all of
# the first 48, where chance would find 0.1; and 0.95 are taken for their true class, of nine.
def test_flipped_labels_of_a_loop_of_ones_own_rank_first(digits, tmp_path) -> None:
    true = torch.tensor(open_array(digits.prepared, "train", "labels"))
    images = torch.tensor(open_array(digits.prepared, "train", "images")) / 255
    labels, wrong = flip(true, 0.1)
    train(images, labels).save(tmp_path / "mine", labels)
    difficulty.run(tmp_path / "mine", tmp_path / "out", digits.prepared)
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    first = pl.read_csv(tmp_path / "out" / "mislabelled.csv").head(len(wrong))
    found = first.filter(pl.col("index").is_in(wrong))
    assert len(found) / len(wrong) >= 0.85
    named = torch.tensor(found["taken_for"].to_list()) == true[found["index"].to_torch()]
    assert named.double().mean() >= 0.85
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert page.count("data:image/png;base64,") == 24 + 48  # of the two sheets
    assert page.count("<svg") == 2
    assert "were never classified rightly" in page


@pytest.mark.usefixtures("undrawn")
def test_without_correct_nothing_is_made_up(losses_only) -> None:
    difficulty.run(losses_only, losses_only / "difficulty", None)
    folder = losses_only / "difficulty"
    assert {path.name for path in folder.iterdir()} == {
        "difficulty.parquet", "mislabelled.csv", "report.html",
    }  # fmt: skip
    table = artifacts.read_table(folder / "difficulty.parquet")
    assert table["forgotten"].null_count() == 40
    listed = pl.read_csv(folder / "mislabelled.csv")
    assert listed["index"].to_list() == list(range(39, -1, -1))
    assert listed["mean_loss"].to_list() == [index / 8 for index in range(39, -1, -1)]
    page = (folder / "report.html").read_text("utf-8")
    assert "what was right was not reported" in page
    for word in ("forgotten", "never right", "None", "data:image"):
        assert word not in page


def test_pictures_are_of_what_is_known(losses_only) -> None:
    difficulty.run(losses_only, losses_only / "difficulty", None)
    assert [path.name for path in losses_only.glob("*/*.png")] == ["seen_by_loss.png"]


@pytest.mark.usefixtures("undrawn")
def test_a_run_of_the_pipeline_is_as_good(tmp_path) -> None:
    paths = made_up.write_project(tmp_path)
    run = paths.train("random")
    for source in (run, run / artifacts.EXAMPLES):
        difficulty.run(source, tmp_path / "out", paths.prepared)
        examples = artifacts.read_table(run / artifacts.EXAMPLES)
        table = artifacts.read_table(tmp_path / "out" / artifacts.DIFFICULTY)
        assert table.equals(difficulty_table(examples))
    names = pl.read_csv(tmp_path / "out" / "mislabelled.csv")["label"]
    assert set(names) == set(made_up.CLASSES)


@pytest.mark.usefixtures("undrawn")
def test_what_does_not_belong_together_is_refused_and_leaves_the_earlier(
    losses_only, tmp_path
) -> None:
    made_up.write_prepared(tmp_path / "prepared")
    out = tmp_path / "out"
    difficulty.run(losses_only, out, tmp_path / "prepared")
    before = (out / "report.html").read_bytes()
    other = LossBatchSampler(41, 4, 30, record=True)
    other.save(tmp_path / "other")
    with pytest.raises(ArtifactError, match="41 examples, and 40 in the training split of"):
        difficulty.run(tmp_path / "other", out, tmp_path / "prepared")
    with pytest.raises(
        ArtifactError, match=r"nothing.examples\.parquet: no such file; name a folder"
    ):
        (tmp_path / "nothing").mkdir()
        difficulty.run(tmp_path / "nothing", out, None)
    table = artifacts.read_table(losses_only / "examples.parquet")
    artifacts.write_table(losses_only / "examples.parquet", table.reverse())
    with pytest.raises(ArtifactError, match="must list every example once, in order"):
        difficulty.run(losses_only, out, None)
    assert (out / "report.html").read_bytes() == before
    difficulty.run(tmp_path / "other", out, None)  # which nothing was reported of
    (out / "mine.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=r"holds mine\.txt"):
        difficulty.run(tmp_path / "other", out, None)
