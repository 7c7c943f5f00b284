//! Unrelated implementations verify a log that this crate wrote: Go's `golang.org/x/mod/sumdb` and PyPI's `aics-tlog`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test may fail the test"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tlog::tile::{changed_bundles, changed_tiles, full_tile_root};
use tlog::{Algorithm, Bundle, Checkpoint, Error, Frontier, Hash, SignerKey, Tile, leaf_hash, prove};

const ORIGIN: &str = "example.com/log";
const SIZE: u64 = 70_000;

fn write(folder: &Path, name: &str, data: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, data).unwrap();
}

fn entry(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

fn write_tiles(folder: &Path, leaves: &[Hash]) {
    for tile in changed_tiles(0, SIZE) {
        let first = tile.index() * 256;
        let hash = |index: u64| match tile.level() {
            0 => leaves[index as usize],
            level => {
                let below = Tile::new(level - 1, index, 256).unwrap();
                let data = fs::read(folder.join(below.to_string())).unwrap();
                full_tile_root(below.hashes(&data).unwrap()).unwrap()
            }
        };
        let hashes: Vec<Hash> = (first..first + u64::from(tile.width())).map(hash).collect();
        write(folder, &tile.to_string(), hashes.as_flattened());
    }
    for bundle in changed_bundles(0, SIZE) {
        let first = bundle.index() * 256;
        let entries = (first..first + u64::from(bundle.width())).map(entry);
        write(folder, &bundle.to_string(), Bundle::encode(entries).unwrap());
    }
}

/// Inclusion and consistency proofs at `size`, as JSON lines. Tiles may be wider than at that size.
fn proofs(folder: &Path, leaves: &[Hash], roots: &[Hash], size: u64) -> Vec<String> {
    let read = |tile: Tile| -> Result<Vec<u8>, Error> {
        let widest = Tile::in_tree(tile.level(), tile.index(), SIZE).ok_or(Error::TilePath)?;
        Ok(fs::read(folder.join(widest.to_string())).unwrap())
    };
    let line = |old: u64, index: u64, hashes: Vec<Hash>| {
        let hashes: Vec<String> = hashes.iter().map(|hash| STANDARD.encode(hash)).collect();
        serde_json::json!({
            "Old": old, "Size": size, "Index": index, "Hashes": hashes,
            "OldRoot": STANDARD.encode(roots[old as usize]), "Root": STANDARD.encode(roots[size as usize]),
            "Leaf": STANDARD.encode(leaves[index as usize]),
        })
        .to_string()
    };
    let positions = [0, 1, 255, 256, 257, 65_535, 65_536, size / 3, size / 2, size - 1];
    let positions: Vec<u64> = positions.into_iter().filter(|it| *it < size).collect();
    let inclusion = positions
        .iter()
        .map(|at| line(0, *at, prove::inclusion(*at, size, read).unwrap()));
    let olds = positions.iter().filter(|it| **it > 0);
    let consistency = olds.map(|old| line(*old, 0, prove::consistency(*old, size, read).unwrap()));
    inclusion.chain(consistency).collect()
}

/// Writes a log of [`SIZE`] leaves; returns the number of proofs.
fn write_log(folder: &Path) -> usize {
    let leaves: Vec<Hash> = (0..SIZE).map(|index| leaf_hash(&entry(index))).collect();
    let mut tree = Frontier::new();
    let mut roots = vec![tree.root()];
    for leaf in &leaves {
        tree.push(*leaf).unwrap();
        roots.push(tree.root());
    }
    write_tiles(folder, &leaves);
    let sizes = (1..40).chain([255, 256, 257, 511, 513, 65_535, 65_536, 65_537, SIZE]);
    let lines: Vec<String> = sizes
        .flat_map(|size| proofs(folder, &leaves, &roots, size))
        .collect();
    write(folder, "proofs", lines.join("\n"));

    let key = SignerKey::from_seed(ORIGIN, Algorithm::Ed25519, [1; 32]).unwrap();
    let witness = SignerKey::from_seed("example.com/witness", Algorithm::Cosignature, [2; 32]).unwrap();
    write(folder, "key", key.verifier().to_string());
    write(folder, "secret", key.to_secret_text());
    write(folder, "witness", witness.verifier().to_string());
    let mut note = Checkpoint::new(ORIGIN, &tree).sign(&key).unwrap();
    write(folder, "checkpoint-log-only", note.to_string());
    note.sign(&witness, 1_679_315_147).unwrap();
    write(folder, "checkpoint", note.to_string());
    lines.len()
}

/// Runs a command, which prints the number of proofs that it verified.
fn verified(command: &mut Command, what: &str) -> usize {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}; install {what}"));
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{command:?} failed; it needs {what}: {err}"
    );
    out.trim().parse().unwrap()
}

fn oracle_folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle")
}

#[test]
fn go_verifies_the_checkpoint_and_each_proof() {
    let folder = tempfile::tempdir().unwrap();
    let proofs = write_log(folder.path());
    let mut go = Command::new("go");
    go.args(["run", "."])
        .arg(folder.path())
        .current_dir(oracle_folder());
    assert_eq!(verified(&mut go, "Go 1.26"), proofs);
}

/// The environment variable `TLOG_PYTHON` names the Python to use; the default is `python3`.
#[test]
fn aics_tlog_verifies_the_checkpoint_the_tiles_and_each_proof() {
    let folder = tempfile::tempdir().unwrap();
    let proofs = write_log(folder.path());
    let mut python = Command::new(std::env::var("TLOG_PYTHON").unwrap_or_else(|_| "python3".to_owned()));
    python.arg(oracle_folder().join("verify.py")).arg(folder.path());
    assert_eq!(
        verified(&mut python, "Python 3.12 with `pip install aics-tlog==0.2.1`"),
        proofs
    );
}
