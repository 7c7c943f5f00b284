//! Writes the texts found by fuzzing (tests/fuzzed/NAME.jsonl) into a folder, one file each, to continue fuzzing.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(list), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: seeds LIST.jsonl FOLDER".into());
    };
    std::fs::create_dir_all(&folder)?;
    for (number, line) in std::fs::read_to_string(list)?.lines().enumerate() {
        let text: String = serde_json::from_str(line)?;
        std::fs::write(Path::new(&folder).join(number.to_string()), text)?;
    }
    Ok(())
}
