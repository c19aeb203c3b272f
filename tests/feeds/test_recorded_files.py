import pytest

from feeds.feed import FeedError
from feeds.recorded_files import find_files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with a few files."""
    for name in ("b.csv", "a.csv", "c.csv.gz", "x[1].csv"):
        (tmp_path / name).touch()
    (tmp_path / "days").mkdir()
    (tmp_path / "days" / "1.csv").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_is_found_from_the_working_directory(folder):
    """As it is written, relative or absolute, and also with brackets in its name."""
    assert find_files("a.csv") == ["a.csv"]
    assert find_files(str(folder / "a.csv")) == [str(folder / "a.csv")]
    assert find_files("x[1].csv") == ["x[1].csv"]


def test_a_pattern_finds_files_in_the_order_of_their_names(folder):
    """Whatever order the file system has."""
    assert find_files("[abc].csv*") == ["a.csv", "b.csv", "c.csv.gz"]
    assert find_files("**/1.csv") == ["days/1.csv"]
    assert find_files(f"{folder}/[ab].csv") == [str(folder / "a.csv"), str(folder / "b.csv")]


def test_a_list_keeps_its_order(folder):
    """Rows of the same time come in the order of the files."""
    assert find_files(["b.csv", "[a].csv"]) == ["b.csv", "a.csv"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.csv", "missing.csv: found no file of this name or pattern, looking from "),
        ("*.txt", "*.txt: found no file of this name or pattern, looking from "),
        ("days", "days: found a folder, expected a file or a pattern such as days/*.csv.gz"),
        (["a.csv", "*.csv"], "a.csv: found twice in path, expected each file once"),
        (["a.csv", "./days/../a.csv"], "./days/../a.csv: found twice in path, expected each file once"),
    ],
)
def test_what_cannot_be_replayed_is_refused(folder, path, message):
    """By its name."""
    with pytest.raises(FeedError) as caught:
        find_files(path)
    assert str(caught.value).startswith(message)
