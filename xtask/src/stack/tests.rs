use std::path::PathBuf;

use super::*;

/// A valid stack whose files all exist.
const GOOD: &str = r#"[stack]
name = "shop"
namespace = "shop-system"

[components.database]
image = "example.com/database:1"
manifest = "file"
ports.sql = { container = 5432, host = 15432 }

[jobs.migrate]
service = "orders"
manifest = "file"
needs = ["database"]

[services.orders]
package = "orders"
dockerfile = "file"
config = "file"
manifest = "file"
needs = ["migrate"]
ports.api = { container = 8080, host = 18080 }

[build]
dockerfile = "file"
glibc = "2.34"

[test]
package = "tests"
"#;

fn parsed(text: &str) -> Result<Stack, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    parse(text, folder.path()).map_err(|problems| {
        let shown = |p: Problem| format!("{}:{}: {}", p.line, p.column, p.message);
        problems.into_iter().map(shown).collect()
    })
}

#[track_caller]
fn problems_of(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "the change must apply: {from}");
    parsed(&GOOD.replace(from, to)).expect_err("must be rejected")
}

#[test]
fn reads_a_valid_file() {
    let stack = parsed(GOOD).unwrap();
    assert_eq!(stack.packages(), ["orders"]);
    assert_eq!(stack.needs("migrate")[0].get_ref(), "database");
    assert_eq!(stack.without_health().collect::<Vec<_>>(), ["orders"]);
    let with = parsed(&GOOD.replace(
        "ports.api = { container = 8080",
        "ports.health = { container = 8080",
    ))
    .unwrap();
    assert_eq!(with.without_health().count(), 0);
}

#[test]
fn only_services_need_a_build_table() {
    let build = "[build]\ndockerfile = \"file\"\nglibc = \"2.34\"\n";
    assert_eq!(
        problems_of(build, ""),
        ["15:11: orders: images of services need a [build] table, see docs/stack.md"]
    );
    let begin = GOOD.find("[jobs").unwrap();
    let end = GOOD.find("[test]").unwrap();
    assert!(parsed(&format!("{}{}", &GOOD[..begin], &GOOD[end..])).is_ok());
}

#[test]
fn unknown_need_has_its_position_and_a_suggestion() {
    let problems = problems_of(r#"needs = ["migrate"]"#, r#"needs = ["migrat"]"#);
    assert_eq!(
        problems,
        [r#"20:10: unknown entry "migrat" in needs of orders; did you mean "migrate"?"#]
    );
    let problems = problems_of(r#"needs = ["migrate"]"#, r#"needs = ["stream"]"#);
    assert_eq!(
        problems,
        [r#"20:10: unknown entry "stream" in needs of orders; known names: database, migrate, orders"#]
    );
}

#[test]
fn unknown_service_of_a_job_is_reported() {
    let problems = problems_of(r#"service = "orders""#, r#"service = "order""#);
    assert_eq!(
        problems,
        [r#"11:11: unknown service "order" in job migrate; did you mean "orders"?"#]
    );
}

#[test]
fn cycle_is_reported_once_with_all_entries() {
    let problems = problems_of(r#"needs = ["database"]"#, r#"needs = ["database", "orders"]"#);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0], "20:10: dependency cycle: migrate → orders → migrate");
}

#[test]
fn duplicate_host_port_names_both_uses() {
    let problems = problems_of("host = 18080", "host = 15432");
    assert_eq!(
        problems,
        ["21:40: orders.api: host port 15432 is already used by database.sql"]
    );
}

#[test]
fn ports_of_one_program_must_differ() {
    let twice =
        "ports.api = { container = 8080, host = 18080 }\nports.also = { container = 8080, host = 18081 }";
    let problems = problems_of("ports.api = { container = 8080, host = 18080 }", twice);
    assert_eq!(
        problems,
        ["22:28: orders.also: container port 8080 is already used by orders.api"]
    );
}

#[test]
fn missing_file_has_its_position() {
    let problems = problems_of(r#"config = "file""#, r#"config = "config/orders.toml""#);
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].starts_with("18:10: orders: no file config/orders.toml in "),
        "{problems:?}"
    );
}

#[test]
fn duplicate_name_is_reported_at_the_later_one() {
    let problems = problems_of("[jobs.migrate]", "[jobs.database]");
    assert!(
        problems.contains(&r#"10:7: duplicate name "database": first used in line 5"#.to_owned()),
        "{problems:?}"
    );
}

#[test]
fn rejects_names_that_kubernetes_rejects() {
    let problems = problems_of("[components.database]", "[components.Data_Base]");
    assert!(
        problems[0].starts_with(r#"5:13: invalid name "Data_Base""#),
        "{problems:?}"
    );
}

#[test]
fn unknown_key_has_its_position() {
    let problems = problems_of(r#"package = "orders""#, r#"pakage = "orders""#);
    assert!(
        problems[0].starts_with("16:1: unknown field `pakage`, expected one of `package`"),
        "{problems:?}"
    );
}

#[test]
fn invalid_port_has_its_position() {
    let problems = problems_of("host = 18080", "host = 99999");
    assert!(problems[0].starts_with("21:40: "), "{problems:?}");
}

#[test]
fn invalid_toml_has_its_position() {
    let problems = problems_of("[jobs.migrate]", "[jobs.migrate");
    assert!(problems[0].starts_with("10:"), "{problems:?}");
}

#[test]
fn all_problems_are_reported_in_the_order_of_the_file() {
    let text = GOOD
        .replace("2.34", "new")
        .replace("host = 18080", "host = 15432")
        .replace(r#"["migrate"]"#, r#"["x"]"#);
    let lines: Vec<_> = parsed(&text)
        .unwrap_err()
        .iter()
        .map(|p| p.split(':').next().unwrap().to_owned())
        .collect();
    assert_eq!(lines, ["20", "21", "25"]);
}

#[test]
fn own_stack_is_valid() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/stack.toml");
    if let Err(invalid) = read(&file) {
        panic!("{invalid}");
    }
}

#[test]
fn test_is_either_a_package_or_a_command() {
    assert_eq!(
        problems_of(
            "package = \"tests\"\n",
            "package = \"tests\"\ncommand = [\"tests\"]\n"
        ),
        ["27:1: test: `package` and `command` exclude each other; remove one"]
    );
    assert_eq!(
        problems_of("package = \"tests\"\n", ""),
        ["27:1: test: add `package` (of this workspace) or `command` (any program)"]
    );
    let stack =
        parsed(&GOOD.replace("package = \"tests\"\n", "command = [\"python3\", \"t.py\"]\n")).unwrap();
    assert_eq!(stack.test.get_ref().command, ["python3", "t.py"]);
}
