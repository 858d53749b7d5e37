"""A server that runs out of descriptors pauses accepting, says so, and serves everybody afterwards."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = str(Path(__file__).with_name("out_of_descriptors.py"))


def test_server_pauses_says_so_and_recovers(loop_name):
    done = subprocess.run(
        [sys.executable, PROGRAM, loop_name], check=False, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert 10 <= outcome["echoed_during"] < 100, "those for whom there were descriptors are served meanwhile"
    assert outcome["echoed_after"] == 100, "all waiting clients are served afterwards"
    assert outcome["cpu"] < 0.5, "waiting for descriptors is not a busy loop"
    assert all("out of system resource" in message for message in outcome["reports"])
    if loop_name == "segue":
        assert len(outcome["reports"]) == 1, "said once"
    else:
        assert outcome["reports"], "asyncio says it at every attempt"
