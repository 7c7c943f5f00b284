//! PostgreSQL: options, faults, cleanup.

use std::net::TcpListener;

use embedded::Postgres;

use crate::common::sql;

#[test]
fn the_role_owns_its_database_and_needs_its_password() {
    let postgres = Postgres::builder()
        .user("kubernaut")
        .database("audit")
        .start()
        .unwrap();
    let url = postgres.url();
    assert!(
        url.starts_with("postgres://kubernaut:") && url.ends_with("/audit"),
        "{url}"
    );
    assert_eq!(
        sql(&url, "select current_user || ' ' || current_database()").unwrap(),
        "kubernaut audit"
    );
    sql(&url, "create table events (id int)").unwrap();
    assert_eq!(sql(&url, "show is_superuser").unwrap(), "off");
    assert_eq!(sql(&postgres.superuser_url(), "show is_superuser").unwrap(), "on");

    let (before, after) = url.split_once('@').unwrap();
    let (start, _) = before.rsplit_once(':').unwrap();
    let wrong = sql(&format!("{start}:wrong@{after}"), "select 1").unwrap_err();
    assert!(wrong.contains("password authentication failed"), "{wrong}");
}

#[test]
fn names_and_passwords_may_have_any_characters() {
    let postgres = Postgres::builder()
        .user("o'neill \"the\" äñ")
        .password("a:b/c@d?e#f'g\"h\\i %j")
        .superuser_password("; drop table x; --")
        .database("select")
        .durable(false)
        .start()
        .unwrap();
    assert_eq!(
        sql(&postgres.url(), "select current_user").unwrap(),
        "o'neill \"the\" äñ"
    );
    assert_eq!(sql(&postgres.superuser_url(), "select 1").unwrap(), "1");
}

#[test]
fn rejects_invalid_options_before_the_start() {
    let error =
        |builder: embedded::Builder<embedded::PostgresOptions>| builder.start().unwrap_err().to_string();
    assert!(error(Postgres::builder().user("postgres")).contains("choose other names"));
    assert!(error(Postgres::builder().database("template1")).contains("choose other names"));
    assert!(error(Postgres::builder().user("x".repeat(64))).contains("1 to 63 bytes"));
    assert!(error(Postgres::builder().password("a\nb")).contains("control characters"));
    assert!(
        error(Postgres::builder().setting("fsync = off\nport", "1"))
            .contains("invalid name of a PostgreSQL setting")
    );
}

#[test]
fn reports_the_message_of_postgresql_for_an_unknown_setting() {
    let error = Postgres::builder()
        .setting("no_such_setting", "1")
        .start()
        .unwrap_err();
    assert!(
        format!("{error:#}").contains("unrecognized configuration parameter \"no_such_setting\""),
        "{error:#}"
    );
}

#[test]
fn is_durable_by_default_and_applies_settings() {
    let durable = Postgres::builder()
        .setting("work_mem", "5MB")
        .setting("cluster_name", r"it's a \ name")
        .start()
        .unwrap();
    assert_eq!(sql(&durable.url(), "show fsync").unwrap(), "on");
    assert_eq!(sql(&durable.url(), "show synchronous_commit").unwrap(), "on");
    assert_eq!(sql(&durable.url(), "show work_mem").unwrap(), "5MB");
    assert_eq!(
        sql(&durable.url(), "show cluster_name").unwrap(),
        r"it's a \ name"
    );
    let not_durable = Postgres::builder().durable(false).start().unwrap();
    assert_eq!(sql(&not_durable.url(), "show fsync").unwrap(), "off");
}

#[test]
fn committed_data_survives_stop_kill_and_restart() {
    let postgres = Postgres::start().unwrap();
    let url = postgres.url();
    sql(&url, "create table kept (n int)").unwrap();
    let insert = || sql(&url, "insert into kept values (1)").unwrap();
    insert();

    postgres.stop().unwrap();
    assert!(!postgres.is_running());
    let error = sql(&url, "select 1").unwrap_err();
    assert!(error.contains("Connection refused"), "{error}");
    postgres.stop().unwrap();
    postgres.restart().unwrap();
    insert();

    postgres.kill().unwrap();
    assert!(!postgres.is_running());
    assert!(sql(&url, "select 1").is_err());
    postgres.restart().unwrap();
    insert();

    postgres.restart().unwrap();
    assert_eq!(sql(&url, "select count(*) from kept").unwrap(), "3");
}

#[test]
fn reports_a_given_port_that_is_in_use_and_uses_one_that_is_free() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let error = Postgres::builder().port(port).start().unwrap_err();
    assert!(
        format!("{error:#}").contains(&format!("port {port} of 127.0.0.1")),
        "{error:#}"
    );
    let port = subprocess::free_port().unwrap();
    let postgres = Postgres::builder().port(port).durable(false).start().unwrap();
    assert_eq!(postgres.port(), port);
    assert_eq!(sql(&postgres.url(), "show port").unwrap(), port.to_string());
}

#[test]
fn drop_leaves_no_process_and_no_file() {
    let postgres = Postgres::builder().durable(false).start().unwrap();
    let folder = postgres.instance().folder().to_owned();
    let record = subprocess::Record::read(&postgres.instance().record).unwrap();
    assert!(folder.is_dir() && record.is_alive());
    assert!(subprocess::Process::working_in(&folder, &["postgres"]).len() > 3);
    drop(postgres);
    assert!(!folder.exists() && !record.is_alive());
    assert!(
        subprocess::Process::tagged(&folder).is_empty(),
        "some of its processes are still running"
    );
}

#[test]
fn the_shared_instance_stops_with_its_last_clone() {
    let first = Postgres::shared().unwrap();
    let second = Postgres::shared().unwrap();
    assert_eq!(first.port(), second.port());
    let folder = first.instance().folder().to_owned();
    drop(first);
    assert_eq!(sql(&second.url(), "select 1").unwrap(), "1");
    // No other test of this program uses the shared one.
    drop(second);
    assert!(!folder.exists());
}
