//! The tree, its tiles and its proofs, against RFC 6962's vectors and a slow obvious implementation.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use tlog::prover::Prover;
use tlog::tile::{changed_tiles, full_tile_root};
use tlog::{
    Error, Frontier, Hash, Tile, empty_root, leaf_hash, node_hash, prove, verify_consistency,
    verify_inclusion,
};

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|index| leaf_hash(&index.to_be_bytes())).collect()
}

fn split(count: usize) -> usize {
    (count / 2 + count % 2).next_power_of_two()
}

/// `MTH` of RFC 6962, word for word.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&mth(left), &mth(right))
        }
    }
}

/// `PATH` of RFC 6962.
fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut proof, sibling) = if index < left.len() {
        (path(index, left), mth(right))
    } else {
        (path(index - left.len(), right), mth(left))
    };
    proof.push(sibling);
    proof
}

/// `SUBPROOF` of RFC 6962.
fn subproof(old: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if known { Vec::new() } else { vec![mth(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut proof, sibling) = if old <= left.len() {
        (subproof(old, left, known), mth(right))
    } else {
        (subproof(old - left.len(), right, false), mth(left))
    };
    proof.push(sibling);
    proof
}

/// A store of tiles, as a log keeps them: grows by the changed tiles, level by level.
#[derive(Default)]
struct Store {
    tiles: BTreeMap<(u8, u64), Vec<u8>>,
}

impl Store {
    fn grow(&mut self, from: u64, leaves: &[Hash]) {
        for tile in changed_tiles(from, leaves.len() as u64) {
            let first = tile.index() as usize * 256;
            let hashes: Vec<Hash> = (first..first + usize::from(tile.width()))
                .map(|index| match tile.level() {
                    0 => leaves[index],
                    level => {
                        let below = &self.tiles[&(level - 1, index as u64)];
                        full_tile_root(below.as_chunks::<32>().0).unwrap()
                    }
                })
                .collect();
            self.tiles
                .insert((tile.level(), tile.index()), hashes.as_flattened().to_vec());
        }
    }

    fn read(&self, tile: Tile) -> Result<Vec<u8>, Error> {
        self.tiles
            .get(&(tile.level(), tile.index()))
            .cloned()
            .ok_or(Error::TilePath)
    }
}

#[test]
fn roots_match_the_certificate_transparency_vectors() {
    let inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    ];
    let mut tree = Frontier::new();
    assert_eq!(
        hex(&tree.root()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    for (input, root) in inputs.iter().zip(roots) {
        let bytes: Vec<u8> = (0..input.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&input[at..at + 2], 16).unwrap())
            .collect();
        tree.push(leaf_hash(&bytes)).unwrap();
        assert_eq!(hex(&tree.root()), root);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn frontier_matches_the_definition_and_resumes_at_each_size() {
    let leaves = leaves(600);
    let mut tree = Frontier::new();
    for size in 0..=leaves.len() {
        assert_eq!(tree.root(), mth(&leaves[..size]), "size {size}");
        tree = Frontier::from_bytes(&tree.to_bytes()).unwrap();
        assert_eq!(tree.size(), size as u64);
        if let Some(leaf) = leaves.get(size) {
            tree.push(*leaf).unwrap();
        }
    }
}

#[test]
fn proofs_from_tiles_match_the_definition_at_each_size() {
    let all = leaves(600);
    let mut store = Store::default();
    for size in 1..=all.len() {
        let leaves = &all[..size];
        store.grow(size as u64 - 1, leaves);
        let root = mth(leaves);
        assert_eq!(prove::root(size as u64, |tile| store.read(tile)), Ok(root));
        let positions: Vec<usize> = [
            0,
            1,
            2,
            127,
            128,
            255,
            256,
            257,
            511,
            512,
            size / 3,
            size / 2,
            size - 1,
        ]
        .into_iter()
        .filter(|index| *index < size)
        .collect();
        for index in positions {
            let proof = prove::inclusion(index as u64, size as u64, |tile| store.read(tile)).unwrap();
            assert_eq!(proof, path(index, leaves), "leaf {index} of {size}");
            verify_inclusion(&leaves[index], index as u64, size as u64, &proof, &root).unwrap();
            let old = index + 1;
            let proof = prove::consistency(old as u64, size as u64, |tile| store.read(tile)).unwrap();
            assert_eq!(proof, subproof(old, leaves, true), "{old} to {size}");
            let old_root = mth(&leaves[..old]);
            verify_consistency(old as u64, &old_root, size as u64, &root, &proof).unwrap();
        }
    }
}

#[test]
fn every_pair_of_sizes_and_leaves_up_to_40_verifies_and_altered_proofs_do_not() {
    let all = leaves(40);
    let mut store = Store::default();
    store.grow(0, &all);
    for size in 1..=all.len() as u64 {
        let root = mth(&all[..size as usize]);
        for index in 0..size {
            let leaf = all[index as usize];
            let proof = prove::inclusion(index, size, |tile| store.read(tile)).unwrap();
            verify_inclusion(&leaf, index, size, &proof, &root).unwrap();
            altered(&proof, |proof| verify_inclusion(&leaf, index, size, proof, &root));
            for other in (0..size).filter(|it| *it != index) {
                assert!(verify_inclusion(&leaf, other, size, &proof, &root).is_err());
            }
        }
        for old in 1..size {
            let old_root = mth(&all[..old as usize]);
            let proof = prove::consistency(old, size, |tile| store.read(tile)).unwrap();
            verify_consistency(old, &old_root, size, &root, &proof).unwrap();
            altered(&proof, |proof| {
                verify_consistency(old, &old_root, size, &root, proof)
            });
            assert!(verify_consistency(old, &root, size, &root, &proof).is_err());
            assert!(verify_consistency(old, &old_root, size, &old_root, &proof).is_err());
        }
    }
}

/// Checks that a proof with one altered byte, a hash less or a hash more is rejected.
fn altered(proof: &[Hash], verify: impl Fn(&[Hash]) -> Result<(), Error>) {
    for at in 0..proof.len() * 32 {
        let mut proof = proof.to_vec();
        proof[at / 32][at % 32] ^= 1 << (at % 8);
        assert!(verify(&proof).is_err());
    }
    for at in 0..proof.len() {
        let mut proof = proof.to_vec();
        proof.remove(at);
        assert!(verify(&proof).is_err());
    }
    for at in 0..=proof.len() {
        let mut proof = proof.to_vec();
        proof.insert(at, [0; 32]);
        assert!(verify(&proof).is_err());
    }
}

#[test]
fn proofs_at_ten_million_leaves_read_few_tiles() {
    let size = 10_000_000;
    for index in [0, 1, 4_999_999, 8_388_608, size - 1] {
        let tiles = prove::inclusion_tiles(index, size).unwrap();
        assert!(tiles.len() <= 6, "{} tiles for {index}", tiles.len());
        let tiles = prove::consistency_tiles(index.max(1), size).unwrap();
        assert!(tiles.len() <= 6, "{} tiles from {index}", tiles.len());
    }
}

#[test]
fn rejects_positions_outside_of_the_tree() {
    let none = |_: Tile| -> Result<Vec<u8>, Error> { panic!("reads a tile") };
    assert_eq!(
        prove::inclusion(5, 5, none),
        Err(Error::Range { position: 5, size: 5 })
    );
    assert_eq!(
        prove::consistency(6, 5, none),
        Err(Error::Range { position: 6, size: 5 })
    );
    assert_eq!(prove::inclusion(0, u64::MAX, none), Err(Error::Size));
    assert_eq!(prove::consistency(0, 5, none), Ok(Vec::new()));
    assert_eq!(prove::root(0, none), Ok(empty_root()));
    verify_consistency(0, &empty_root(), 5, &[1; 32], &[]).unwrap();
    assert!(verify_consistency(0, &[1; 32], 5, &[1; 32], &[]).is_err());
    assert!(verify_consistency(0, &[1; 32], 0, &[1; 32], &[]).is_err());
}

#[test]
fn prover_proves_like_the_single_proofs_and_reads_each_tile_once_in_order() {
    const BACK: usize = 20;
    let all = leaves(70_000);
    let mut store = Store::default();
    store.grow(0, &all);
    for size in (1..40).chain([255, 256, 257, 511, 513, 65_536, 65_537, 70_000]) {
        let mut prover = Prover::new(size, 64).unwrap();
        let mut reads = 0;
        let forth: Vec<u64> = (0..size).step_by(1 + size as usize / 300).collect();
        // And back to the first ones, whose tiles were evicted: each may be read once more.
        for index in forth.iter().chain(forth.iter().take(BACK)).copied() {
            for tile in prover.missing(index).unwrap() {
                prover.insert(tile, &store.read(tile).unwrap()).unwrap();
                reads += 1;
            }
            let proof = prove::inclusion(index, size, |tile| store.read(tile)).unwrap();
            assert_eq!(prover.inclusion(index).unwrap(), proof, "leaf {index} of {size}");
        }
        assert!(
            reads <= size.div_ceil(256) + 3 + BACK as u64,
            "{reads} reads for {size} leaves"
        );
    }
    let mut prover = Prover::new(3, 64).unwrap();
    assert!(
        matches!(prover.inclusion(0), Err(Error::TileData { .. })),
        "nothing is inserted"
    );
    assert!(matches!(prover.missing(3), Err(Error::Range { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn random_large_trees_match_the_definition(
        size in 1_u64..100_000, position in any::<prop::sample::Index>(), grown in any::<prop::sample::Index>(),
    ) {
        let leaves = leaves(size);
        let (index, from) = (position.index(size as usize), grown.index(size as usize));
        let mut store = Store::default();
        store.grow(0, &leaves[..from]);
        store.grow(from as u64, &leaves);
        let root = mth(&leaves);
        let proof = prove::inclusion(index as u64, size, |tile| store.read(tile))?;
        prop_assert_eq!(&proof, &path(index, &leaves));
        prop_assert_eq!(verify_inclusion(&leaves[index], index as u64, size, &proof, &root), Ok(()));
        let old = index + 1;
        let proof = prove::consistency(old as u64, size, |tile| store.read(tile))?;
        prop_assert_eq!(&proof, &subproof(old, &leaves, true));
        let old_root = mth(&leaves[..old]);
        prop_assert_eq!(verify_consistency(old as u64, &old_root, size, &root, &proof), Ok(()));
    }
}
