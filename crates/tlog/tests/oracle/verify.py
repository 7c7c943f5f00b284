"""Verifies a log that the Rust crate wrote, with PyPI's aics-tlog. The argument is the folder that main.go describes."""
import base64
import json
import sys
from pathlib import Path

from aics_tlog import (
    FileSystemTileReader, audit_tiles, inclusion_proof_from_tiles, parse_note, parse_vkey, verify_checkpoint,
    verify_consistency, verify_inclusion,
)

folder = Path(sys.argv[1])
key, witness = (parse_vkey((folder / name).read_text().strip()) for name in ("key", "witness"))
note = parse_note((folder / "checkpoint").read_bytes())
result = verify_checkpoint(note, key, [witness], quorum=1, expected_origin=key.name)
assert result.ok, result
size, root = result.size, result.root
reader = FileSystemTileReader(folder)
audit_tiles(reader, size, root, entries=True)
count = 0
for line in (folder / "proofs").read_text().splitlines():
    proof = json.loads(line)
    decode = base64.b64decode
    hashes = [decode(it) for it in proof["Hashes"]]
    if proof["Old"] > 0:
        assert verify_consistency(proof["Old"], proof["Size"], decode(proof["OldRoot"]), decode(proof["Root"]), hashes), proof
    else:
        assert verify_inclusion(decode(proof["Leaf"]), proof["Index"], proof["Size"], hashes, decode(proof["Root"])), proof
        if proof["Size"] == size:
            assert list(inclusion_proof_from_tiles(reader, proof["Index"], size)) == hashes, proof
    count += 1
print(count)
