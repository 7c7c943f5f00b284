use super::*;

fn stored(text: &str) -> Stored {
    Stored {
        time_ms: 7 << 33,
        text: text.as_bytes().to_vec(),
    }
}

fn file_of(texts: &[&str]) -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let mut bytes = Vec::new();
    for (index, text) in (0..).zip(texts) {
        stored(text).encode(index, &mut bytes);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = path(directory.path(), 1);
    std::fs::write(&path, &bytes).unwrap();
    (directory, path, bytes)
}

/// All records of the file, read in parts of at most `max` records.
fn texts(path: &Path, max: usize) -> Vec<String> {
    let end = std::fs::metadata(path).unwrap().len();
    let (mut offset, mut texts) = (0, Vec::new());
    while offset < end {
        let part = read(path, offset, end, max, 1 << 20).unwrap();
        assert!(part.end > offset, "no progress at {offset}");
        offset = part.end;
        texts.extend(
            part.records
                .into_iter()
                .map(|record| String::from_utf8(record.text).unwrap()),
        );
    }
    texts
}

#[test]
fn file_cut_anywhere_keeps_every_complete_record() {
    let (_directory, path, bytes) = file_of(&["one", "two", "three"]);
    let ends = [0, 31, 62, 95];
    for cut in 0..=bytes.len() {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let whole = ends.iter().rposition(|end| *end <= cut).unwrap();
        let expected = Scan {
            events: whole as u64,
            length: ends[whole] as u64,
            torn: ends[whole] != cut,
            oldest_ms: (whole > 0).then_some(7 << 33),
            ..Scan::default()
        };
        assert_eq!(scan(&path, 0).unwrap(), expected, "cut at {cut}");
    }
}

#[test]
fn any_flipped_bit_costs_its_record_alone() {
    let (_directory, path, bytes) = file_of(&["one", "two", "three"]);
    let ends = [31, 62, 95];
    for position in 0..bytes.len() {
        let damaged = ends.iter().position(|end| position < *end).unwrap();
        let mut kept = vec!["one", "two", "three"];
        kept.remove(damaged);
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[position] ^= 1 << bit;
            std::fs::write(&path, &changed).unwrap();
            let found = scan(&path, 0).unwrap();
            assert_eq!(
                (found.events, found.lost, found.corrupt, found.torn),
                (2, 1, true, false),
                "bit {bit} of byte {position}"
            );
            assert_eq!(texts(&path, 10), kept, "bit {bit} of byte {position}");
            assert_eq!(texts(&path, 1), kept, "bit {bit} of byte {position}, one by one");
        }
    }
}

#[test]
fn damage_over_several_records_is_counted_by_their_indexes() {
    let names: Vec<String> = (0..10).map(|number| format!("event-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (_directory, path, mut bytes) = file_of(&names);
    let size = HEADER + 7;
    bytes[size + 5..5 * size - 3].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let found = scan(&path, 0).unwrap();
    assert_eq!((found.events, found.lost), (6, 4));
    let kept: Vec<&str> = [&names[..1], &names[5..]].concat();
    assert_eq!(texts(&path, 100), kept);
    // What was delivered before is not lost.
    let found = scan(&path, 5 * size as u64).unwrap();
    assert_eq!((found.events, found.lost, found.corrupt), (5, 0, true));
}

#[test]
fn damage_behind_the_window_of_a_batch_is_skipped() {
    let long = "x".repeat(LONGEST);
    let (_directory, path, mut bytes) = file_of(&[&long, &long, &long, "last"]);
    for record in 0..3 {
        bytes[record * (HEADER + LONGEST) + 1] ^= 1;
    }
    std::fs::write(&path, &bytes).unwrap();
    let part = read(&path, 0, bytes.len() as u64, 10, 1).unwrap();
    assert_eq!((part.records.len(), part.damaged), (0, true));
    assert_eq!(texts(&path, 10), ["last"]);
    assert_eq!(scan(&path, 0).unwrap().lost, 3);
}

#[test]
fn reading_continues_at_the_end_of_the_last_batch() {
    let (_directory, path, bytes) = file_of(&["one", "two", "three"]);
    let end = bytes.len() as u64;
    let first = read(&path, 0, end, 2, 1_000).unwrap();
    assert_eq!(first.records, [stored("one"), stored("two")]);
    let rest = read(&path, first.end, end, 2, 1_000).unwrap();
    assert_eq!((rest.records, rest.end), (vec![stored("three")], end));
    let one = read(&path, 0, end, 10, 1).unwrap();
    assert_eq!(
        (one.records, one.end),
        (vec![stored("one")], 31),
        "at least one, however small the limit"
    );
    assert_eq!(scan(&path, one.end).unwrap().events, 2);
}
