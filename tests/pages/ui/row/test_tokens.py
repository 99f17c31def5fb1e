"""The line below the token strip: means, and what of the row is not shown."""

import numpy as np
import pytest

from core.measurement.token_files import BASE, TokenView
from pages.ui.row.tokens import summary


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        ({"prompt": 0, "response": 0}, []),
        ({"prompt": 1200, "response": 0}, ["1,200 tokens of the prompt"]),
        ({"prompt": 3, "response": 4}, ["3 tokens of the prompt", "4 tokens of the response"]),
    ],
)
def test_what_the_model_did_not_read_of_either_side_is_told(cut, words):
    numbers = np.array([0.5, 1.5], np.float32)
    line = summary({BASE: TokenView(("It ", "is"), numbers, numbers, (0,))}, "nll", cut=cut)
    assert line.startswith("Mean NLL 1.000 · ")
    assert [part.split(" exceed")[0] for part in line.split(" · ") if "maximum sequence length" in part] == words
