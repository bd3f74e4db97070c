"""What an older version left behind is still of use: `tests/helpers/older_version.py` says what it is and made it."""

import csv
import json
import re
from pathlib import Path

import pytest
from older_version import QUIET, Version, unpack
from whole_commands import call

REPOSITORY = Path(__file__).resolve().parents[2]
ARCHIVE = Path(__file__).parent / "older_version.tar.xz"
NUMBER = re.compile(r"-?\d+\.\d+(?:e-\d+)?|\d+e-\d+")
pytestmark = pytest.mark.slow


class Today(Version):
    """Today's version, whose commands are called in this process; what asks MLflow alone has one of its own."""

    def run(self, *arguments, own=True, status=0):
        if arguments[0] == "-c":
            return super().run(*arguments, own=own, status=status)
        if arguments[0] == "-m":
            script, options = arguments[1].removeprefix("search.") + ".py", arguments[2:]
        else:
            script, options = Path(arguments[0]).name, arguments[1:]
        with pytest.MonkeyPatch.context() as patch:
            for name, value in QUIET.items():
                patch.setenv(name, value)
            done = call(self.folder, script, *options)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + (done.stderr if status else "")


def open_older(folder, sample_folder):
    """Today's version in the folder of the older one, whose data set is drawn again."""
    unpack(ARCHIVE, folder)
    (folder / "sample").symlink_to(sample_folder)  # where the older one drew it
    return Today(REPOSITORY, folder)


@pytest.fixture(scope="module")
def today(tmp_path_factory, sample_folder):
    """Today's version in the folder of the older one. Read-only."""
    return open_older(tmp_path_factory.mktemp("older"), sample_folder)


@pytest.fixture(scope="module")
def expected(today):
    """What the older version said."""
    return json.loads((today.folder / "expected.json").read_text())


@pytest.fixture(scope="module")
def rolled_back(tmp_path_factory, sample_folder):
    """The folder after `--rollback` of today's version, and what that printed."""
    today = open_older(tmp_path_factory.mktemp("rolled_back"), sample_folder)
    return today, today.roll_back()


def check_same(answers, expected):
    """Same words, and the same numbers up to what another processor makes of them."""
    texts = [answers if isinstance(answers, str) else json.dumps(answers) for answers in (answers, expected)]
    assert NUMBER.sub("#", texts[0]) == NUMBER.sub("#", texts[1])
    numbers = [[float(number) for number in NUMBER.findall(text)] for text in texts]
    assert numbers[0] == pytest.approx(numbers[1], abs=2e-4) and len(numbers[0]) > 20


def find_table(printed):
    """Of a comparison, its rows, without what stands around them, and without intervals, which have a floor since."""
    rows = [line for line in printed.splitlines() if re.match(r"(score|calibration|[a-z]+) .*\d\.\d{4}", line)]
    return "\n".join(re.sub(r"\s+\S+ to \S+$", "", row.rstrip()) for row in rows)


def test_the_two_older_models_are_two(expected):
    """Else what follows could not tell them apart."""
    assert expected["served"]["1"] != expected["served"]["2"]
    assert len({json.dumps(answer["attributes"]) for answer in expected["asked"]}) == 3
    assert len(set(NUMBER.findall(expected["compared"]))) > 20


def test_mlflow_serves_it_with_the_code_it_brings(today, expected):
    check_same(today.serve("2"), expected["served"]["2"])


def test_mlflow_loads_it_beside_the_code_of_today(today, expected):
    """Then `fashion_core` is today's, and must still have what the older model imports of it."""
    check_same(today.serve("1", beside=True), expected["served"]["1"])


def test_the_champion_is_asked(today, expected):
    """It says as much; and now that it was not given the boxes that it was trained on."""
    told = today.ask_champion()
    assert all("trained on images" in answer.pop("warning") for answer in told)
    check_same(told, expected["asked"])


def test_the_champion_is_taken_back(rolled_back, expected):
    _, printed = rolled_back
    assert "version 1 is the champion again" in printed and printed == expected["rolled back"]


def test_an_older_search_is_compared_with_an_older_version(rolled_back, expected):
    today, _ = rolled_back
    check_same(find_table(today.compare()), find_table(expected["compared"]))


def read_table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_report_of_an_older_search_is_written_again(tmp_path, sample_folder):
    today = open_older(tmp_path, sample_folder)
    table = today.folder / "results/tiny/trials.csv"
    before = read_table(table)
    table.unlink()
    today.run("-m", "search.report", "tiny")
    now = read_table(table)
    assert [{name: row[name] for name in before[0]} for row in now] == before
    assert now[0].keys() - before[0].keys() == {"images_per_second"}  # the ledger knew it all along
    assert "val/accuracy" in (today.folder / "results/tiny/README.md").read_text()


def test_a_search_that_an_older_version_began_is_not_gone_on_with(tmp_path, sample_folder):
    today = open_older(tmp_path, sample_folder)
    ledger = today.folder / "results/cut/ledger.jsonl"
    before = ledger.read_bytes()
    printed = " ".join(today.run_script("run.py", "--resume", "cut", status=2).split())
    assert "begun by an earlier version" in printed and "Traceback" not in printed
    assert ledger.read_bytes() == before
