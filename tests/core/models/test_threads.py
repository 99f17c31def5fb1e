"""PyTorch's threads do not spin while they wait for each other."""

import os
import subprocess
import sys

READ = "import os, sys; import core.models; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"


def test_the_wait_of_threads_is_set_before_torch_is_loaded_and_the_users_own_value_is_kept():
    env = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    for given, expected in (({}, "1000 False"), ({"GOMP_SPINCOUNT": "7"}, "7 False")):
        out = subprocess.run([sys.executable, "-c", READ], env=env | given, capture_output=True, text=True, check=True)
        assert out.stdout.strip() == expected
