"""A few hostile command lines, each in a process of its own; `make soak` runs hundreds of other seeds."""

import pytest

from tests.core.cli import hostile_commands


@pytest.mark.slow
@pytest.mark.parametrize("seed", [11, 12])
def test_hostile_command_lines_end_in_one_sentence_and_change_no_input(seed, tmp_path):
    failures = hostile_commands.attack(seed, 20, tmp_path)
    assert not failures, "\n".join(map(str, failures))


@pytest.mark.parametrize(
    ("status", "memory", "said", "what"),
    [
        (0, 0, "", ""),
        (2, 0, "The budget 'x' is not valid.\n", ""),
        (1, 0, "Traceback (most recent call last):", "exit code 1"),
        (-11, 0, "", "exit code -11"),
        (-9, 0, "", "no end within 120 s"),
        (2, 0, "one\ntwo\n", "2 lines on stderr instead of one sentence"),
        (0, 8 << 30, "", "8192 MB of memory"),
    ],
)
def test_what_is_promised_of_a_command(status, memory, said, what):
    assert hostile_commands.judge(status, memory, said) == what
