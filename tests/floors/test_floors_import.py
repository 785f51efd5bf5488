import subprocess
import sys


def test_importing_floors_is_light():
    """scikit-learn takes a second to import, so only what fits or scores with it loads it."""
    program = "import sys, seqjax.floors; print(sorted({'sklearn', 'pandas'} & {*sys.modules}))"
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert found == "[]\n"
