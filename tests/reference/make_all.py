"""Makes every fixture anew, each by its own script. Afterwards `git diff` shows where another PyTorch answers otherwise."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SCRIPTS = [
    "unets.py",
    "schedulers.py",
    "guidance.py",
    "replay.py",
    "parameter_counts.py",
    "ops.py",
    "optim.py",
    "random_numbers.py",
    "initialisation.py",
    "images.py",
    "safetensors_fixture.py",
    "torch_files.py",
]

if __name__ == "__main__":
    for script in SCRIPTS:
        print(f"{script}:", flush=True)
        subprocess.run([sys.executable, FOLDER / script], check=True)
