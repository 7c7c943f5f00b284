"""Scenarios of this stack, with the interface that the runner requires: `scenarios.py run --format json --stack FILE
[--shard I/N] [--jobs N] [FILTER...]`, JSON lines on stdout, exit code 0 if all passed, 1 if any failed.
"""

import argparse
import json
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
import uuid

SECONDS = 30


def request(method, url, body=None):
    """Returns status and JSON of the response, also for error statuses."""
    data = None if body is None else json.dumps(body).encode()
    message = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(message, timeout=SECONDS) as response:
            return response.status, json.loads(response.read() or "null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or "null")


def expect(expected, found, what):
    if expected != found:
        raise AssertionError(f"{what}: expected {expected}, found {found}")


def n01_silence_is_stored_and_returned(stack):
    # A kept stack has the silences of earlier runs.
    url = stack["services"]["silences"]["api"] + f"/api/v1/silences/n01-{uuid.uuid4()}"
    expect(404, request("GET", url)[0], "status before the silence")
    expect(204, request("PUT", url, {"reason": "a release", "minutes": 30})[0], "status of PUT")
    status, silence = request("GET", url)
    expect(200, status, "status of GET")
    expect("a release", silence["reason"], "reason")
    assert 1700 < silence["seconds_left"] <= 1800, silence


def n02_rejects_silence_over_limit(stack):
    url = stack["services"]["silences"]["api"] + "/api/v1/silences/n02"
    status, response = request("PUT", url, {"reason": "for ever", "minutes": 100000})
    expect(400, status, "status of PUT")
    expect("minutes must be 1 to 10080, not 100000", response["detail"], "detail")
    expect(404, request("GET", url)[0], "status of GET afterwards")


def n03_silence_survives_restart(stack):
    url = stack["services"]["silences"]["api"] + "/api/v1/silences/n03"
    expect(204, request("PUT", url, {"reason": "kept", "minutes": 5})[0], "status of PUT")
    subprocess.run(stack["control"] + ["restart", "silences"], check=True, stdout=sys.stderr)
    status, silence = request("GET", url)
    expect(200, status, "status after the restart")
    expect("kept", silence["reason"], "reason after the restart")


SCENARIOS = [n01_silence_is_stored_and_returned, n02_rejects_silence_over_limit, n03_silence_survives_restart]


def emit(**event):
    print(json.dumps(event), flush=True)


def run(scenario, stack):
    name = scenario.__name__
    names = {"id": name.split("_")[0], "name": name}
    emit(event="started", **names)
    start, detail = time.monotonic(), None
    try:
        scenario(stack)
    except Exception:
        detail = traceback.format_exc()
    outcome = "failed" if detail else "passed"
    emit(event="finished", **names, outcome=outcome, seconds=time.monotonic() - start, reason=None, detail=detail)
    return outcome


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["run"])
    parser.add_argument("--format", choices=["json"])
    parser.add_argument("--stack", required=True)
    parser.add_argument("--shard", default="1/1")
    parser.add_argument("--jobs", type=int, help="ignored: sequential execution is fast enough")
    parser.add_argument("filters", nargs="*")
    # Filters come before and after options.
    options = parser.parse_intermixed_args()
    with open(options.stack) as file:
        stack = json.load(file)
    shard, shards = map(int, options.shard.split("/"))
    selected = [s for s in SCENARIOS if not options.filters or any(f in s.__name__ for f in options.filters)]
    selected = selected[shard - 1 :: shards]
    emit(event="planned", scenarios=len(selected))
    start = time.monotonic()
    outcomes = [run(scenario, stack) for scenario in selected]
    counts = {word: outcomes.count(word) for word in ["passed", "failed", "skipped"]}
    emit(event="summary", **counts, seconds=time.monotonic() - start)
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
