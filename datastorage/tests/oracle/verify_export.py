"""Verifies an export of DataStorage with the public key of its log and PyPI's aics-tlog: no code of this project.

Usage: verify_export.py KEY EXPORT. Prints the number of events that are proved.
"""
import base64
import hashlib
import json
import sys

from aics_tlog import leaf_hash, parse_note, parse_vkey, verify_checkpoint, verify_inclusion, verify_note

key, path = parse_vkey(sys.argv[1]), sys.argv[2]
tree, events, proved, lines = None, 0, 0, hashlib.sha256()
for text in open(path, encoding="utf-8"):
    line = json.loads(text)
    if line["type"] == "summary":
        break
    lines.update(text.encode())
    if line["type"] == "checkpoint":
        tree = verify_checkpoint(parse_note(line["checkpoint"]), key, expected_origin=key.name)
        assert tree.ok, tree
        continue
    events += 1
    if "leaf_index" in line:
        leaf = leaf_hash(b"\x01" + bytes.fromhex(line["event_hash"]))
        hashes = [base64.b64decode(it, validate=True) for it in line["inclusion_proof"]]
        assert verify_inclusion(leaf, line["leaf_index"], tree.size, hashes, tree.root), line
        proved += 1
assert line["type"] == "summary", "the export is incomplete"
note = parse_note(line["signed_statement"])
assert verify_note(note, [key]), "the signature is invalid"
checkpoint = f"{tree.size} {base64.b64encode(tree.root).decode()}" if tree else "none"
assert note.text == (
    f"kubernaut audit export\nquery {line['query']}\nevents {events}\nsha256 {lines.hexdigest()}\n"
    f"checkpoint {checkpoint}\n"
), "the signed statement is of another export"
print(proved)
