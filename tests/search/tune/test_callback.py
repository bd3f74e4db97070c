"""A death is told in words."""

from types import SimpleNamespace

from ray.exceptions import ActorDiedError, ActorUnavailableError

from search.tune.callback import describe_death


def test_a_death_is_told_in_words(tmp_path):
    text = tmp_path / "error.txt"
    trial = SimpleNamespace(error_file=None)
    assert describe_death(trial) == "no reason known"
    text.write_text("Failure # 1 (occurred at noon)\nRuntimeError: no such device\n")
    trial.error_file = str(text)
    assert describe_death(trial) == "RuntimeError: no such device"
    for error in (ActorDiedError(), ActorUnavailableError("gone", b"\0" * 16)):  # the last one counts
        with text.open("a") as file:
            file.write(f"Failure # 2 (occurred at one)\n{error}\n")
        told = describe_death(trial)
        assert "out of memory is the usual cause" in told and told.endswith(str(error)) and "device" not in told
