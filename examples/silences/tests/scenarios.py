"""The scenarios of this stack, in the form in which the runner calls any: `scenarios.py run --format json --stack FILE
[--shard I/N] [--jobs N] [FILTER...]`, JSON lines on stdout, exit 0 when all passed and 1 when one failed.
"""

import argparse
import json
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request

SECONDS = 30


def ask(method, url, body=None):
    """Status and JSON of an answer; a status that tells of an error is an answer too."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, json.loads(answer.read() or "null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or "null")


def expect(wanted, found, what):
    if wanted != found:
        raise AssertionError(f"{what}: expected {wanted}, found {found}")


def n01_a_silence_is_kept_and_told(stack):
    url = stack["services"]["silences"]["api"] + "/api/v1/silences/n01"
    expect(404, ask("GET", url)[0], "before it is silenced")
    expect(204, ask("PUT", url, {"reason": "a release", "minutes": 30})[0], "silencing it")
    status, silence = ask("GET", url)
    expect(200, status, "once it is silenced")
    expect("a release", silence["reason"], "what is told of it")
    assert 1700 < silence["seconds_left"] <= 1800, silence


def n02_a_silence_without_end_is_refused(stack):
    url = stack["services"]["silences"]["api"] + "/api/v1/silences/n02"
    status, answer = ask("PUT", url, {"reason": "for ever", "minutes": 100000})
    expect(400, status, "a silence of months")
    expect("minutes must be 1 to 10080, it is 100000", answer["detail"], "why it is refused")
    expect(404, ask("GET", url)[0], "afterwards")


def n03_a_silence_outlives_the_service(stack):
    url = stack["services"]["silences"]["api"] + "/api/v1/silences/n03"
    expect(204, ask("PUT", url, {"reason": "kept", "minutes": 5})[0], "silencing it")
    subprocess.run(stack["control"] + ["restart", "silences"], check=True, stdout=sys.stderr)
    status, silence = ask("GET", url)
    expect(200, status, "after the restart")
    expect("kept", silence["reason"], "what is told after the restart")


SCENARIOS = [n01_a_silence_is_kept_and_told, n02_a_silence_without_end_is_refused, n03_a_silence_outlives_the_service]


def tell(**event):
    print(json.dumps(event), flush=True)


def run(scenario, stack):
    name = scenario.__name__
    names = {"id": name.split("_")[0], "name": name}
    tell(event="started", **names)
    began, detail = time.monotonic(), None
    try:
        scenario(stack)
    except Exception:
        detail = traceback.format_exc()
    outcome = "failed" if detail else "passed"
    tell(event="finished", **names, outcome=outcome, seconds=time.monotonic() - began, reason=None, detail=detail)
    return outcome


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["run"])
    parser.add_argument("--format", choices=["json"])
    parser.add_argument("--stack", required=True)
    parser.add_argument("--shard", default="1/1")
    parser.add_argument("--jobs", type=int, help="taken and not needed: one after the other is fast enough")
    parser.add_argument("filters", nargs="*")
    options = parser.parse_args()
    with open(options.stack) as file:
        stack = json.load(file)
    part, parts = map(int, options.shard.split("/"))
    wanted = [s for s in SCENARIOS if not options.filters or any(f in s.__name__ for f in options.filters)]
    began = time.monotonic()
    outcomes = [run(scenario, stack) for number, scenario in enumerate(wanted) if number % parts == part - 1]
    counts = {word: outcomes.count(word) for word in ["passed", "failed", "skipped"]}
    tell(event="summary", **counts, seconds=time.monotonic() - began)
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
