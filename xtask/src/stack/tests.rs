use std::path::PathBuf;

use super::*;

/// A stack of two services and one component whose files all exist.
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
fn refused(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "the change must apply: {from}");
    parsed(&GOOD.replace(from, to)).expect_err("must be refused")
}

#[test]
fn a_good_file_is_read() {
    let stack = parsed(GOOD).unwrap();
    assert_eq!(stack.packages(), ["orders"]);
    assert_eq!(stack.needs("migrate")[0].get_ref(), "database");
}

#[test]
fn an_unknown_need_is_named_with_its_place_and_the_known_names() {
    let problems = refused(r#"needs = ["migrate"]"#, r#"needs = ["migrat"]"#);
    assert_eq!(
        problems,
        [r#"20:10: orders needs "migrat", which is no entry here; there are: database, migrate, orders"#]
    );
}

#[test]
fn an_unknown_service_of_a_job_is_named() {
    let problems = refused(r#"service = "orders""#, r#"service = "order""#);
    assert_eq!(
        problems,
        [r#"11:11: migrate runs the image of "order", which is no service; there are: orders"#]
    );
}

#[test]
fn a_cycle_is_shown_whole_once() {
    let problems = refused(r#"needs = ["database"]"#, r#"needs = ["database", "orders"]"#);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(
        problems[0],
        "20:10: a circle, so none could ever start: migrate needs orders needs migrate"
    );
}

#[test]
fn a_host_port_used_twice_names_both() {
    let problems = refused("host = 18080", "host = 15432");
    assert_eq!(
        problems,
        ["21:40: orders.api: host port 15432 is already that of database.sql"]
    );
}

#[test]
fn two_ports_of_one_program_can_not_be_the_same() {
    let twice =
        "ports.api = { container = 8080, host = 18080 }\nports.also = { container = 8080, host = 18081 }";
    let problems = refused("ports.api = { container = 8080, host = 18080 }", twice);
    assert_eq!(
        problems,
        ["22:28: orders.also: container port 8080 is already that of orders.api"]
    );
}

#[test]
fn a_missing_file_is_named_with_its_place() {
    let problems = refused(r#"config = "file""#, r#"config = "config/orders.toml""#);
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].starts_with("18:10: orders: the file config/orders.toml does not exist in "),
        "{problems:?}"
    );
}

#[test]
fn a_name_used_twice_is_reported_at_the_later_one() {
    let problems = refused("[jobs.migrate]", "[jobs.database]");
    assert!(
        problems.contains(&r#"10:7: "database" is already the name of the entry in line 5"#.to_owned()),
        "{problems:?}"
    );
}

#[test]
fn a_name_that_kubernetes_refuses_is_refused() {
    let problems = refused("[components.database]", "[components.Data_Base]");
    assert!(
        problems[0].starts_with(r#"5:13: the name "Data_Base""#),
        "{problems:?}"
    );
}

#[test]
fn an_unknown_key_has_its_place() {
    let problems = refused(r#"package = "orders""#, r#"pakage = "orders""#);
    assert!(
        problems[0].starts_with("16:1: unknown field `pakage`, expected one of `package`"),
        "{problems:?}"
    );
}

#[test]
fn a_port_that_is_none_has_its_place() {
    let problems = refused("host = 18080", "host = 99999");
    assert!(
        problems[0].starts_with("21:40: ") || problems[0].starts_with("21:39: "),
        "{problems:?}"
    );
}

#[test]
fn broken_toml_has_its_place() {
    let problems = refused("[jobs.migrate]", "[jobs.migrate");
    assert!(problems[0].starts_with("10:"), "{problems:?}");
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
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
fn the_projects_own_stack_is_good() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/stack.toml");
    if let Err(invalid) = read(&file) {
        panic!("{invalid}");
    }
}

#[test]
fn what_tests_the_stack_is_either_a_package_or_a_command() {
    assert_eq!(
        refused(
            "package = \"tests\"\n",
            "package = \"tests\"\ncommand = [\"tests\"]\n"
        ),
        ["27:1: test: say either `package` or `command`, not both"]
    );
    assert_eq!(
        refused("package = \"tests\"\n", ""),
        ["27:1: test: say what tests the stack: `package`, of this workspace, or `command`, any program"]
    );
    let stack =
        parsed(&GOOD.replace("package = \"tests\"\n", "command = [\"python3\", \"t.py\"]\n")).unwrap();
    assert_eq!(stack.test.get_ref().command, ["python3", "t.py"]);
}
