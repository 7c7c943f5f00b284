//! Redis: password, persistence, faults.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use embedded::Redis;

/// Sends inline commands, one per line; returns all responses.
fn send(redis: &Redis, commands: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, redis.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
        .write_all(format!("{commands}\r\nQUIT\r\n").as_bytes())
        .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

fn password(redis: &Redis) -> String {
    let url = redis.url();
    url.strip_prefix("redis://:")
        .unwrap()
        .split_once('@')
        .unwrap()
        .0
        .to_owned()
}

#[test]
fn needs_its_password() {
    let redis = Redis::start().unwrap();
    assert!(send(&redis, "GET x").starts_with("-NOAUTH"));
    assert!(send(&redis, "AUTH wrong").starts_with("-WRONGPASS"));
    assert!(send(&redis, &format!("AUTH {}\r\nSET x 1\r\nGET x", password(&redis))).contains("$1\r\n1\r\n"));
}

#[test]
fn a_password_may_have_any_characters() {
    let redis = Redis::builder().password("a b\"c\\d'e@f:g/ä").start().unwrap();
    assert!(
        redis.url().contains("a%20b%22c%5Cd%27e%40f%3Ag%2F%C3%A4@"),
        "{}",
        redis.url()
    );
    assert!(send(&redis, r#"AUTH "a b\"c\\d'e@f:g/ä""#).starts_with("+OK"));
    assert!(
        Redis::builder()
            .password("a\nb")
            .start()
            .unwrap_err()
            .to_string()
            .contains("control characters")
    );
}

#[test]
fn written_data_survives_a_stop_and_a_kill() {
    let redis = Redis::builder().setting("appendfsync", "always").start().unwrap();
    let auth = format!("AUTH {}\r\n", password(&redis));
    send(&redis, &format!("{auth}XADD spool * event 1"));
    redis.stop().unwrap();
    assert!(!redis.is_running());
    redis.restart().unwrap();
    send(&redis, &format!("{auth}XADD spool * event 2"));
    redis.kill().unwrap();
    redis.restart().unwrap();
    assert!(send(&redis, &format!("{auth}XLEN spool")).contains(":2\r\n"));
}

#[test]
fn without_the_append_only_file_data_is_gone_after_a_restart() {
    let redis = Redis::builder().append_only(false).start().unwrap();
    let auth = format!("AUTH {}\r\n", password(&redis));
    send(&redis, &format!("{auth}SET x 1"));
    redis.restart().unwrap();
    assert!(send(&redis, &format!("{auth}GET x")).contains("$-1\r\n"));
}

#[test]
fn reports_a_port_that_is_in_use() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let error = Redis::builder().port(port).start().unwrap_err();
    assert!(
        format!("{error:#}").contains(&format!("port {port} of 127.0.0.1")),
        "{error:#}"
    );
}

#[test]
fn reports_the_message_of_redis_for_an_unknown_setting() {
    let error = Redis::builder()
        .setting("no-such-setting", "1")
        .start()
        .unwrap_err();
    assert!(format!("{error:#}").contains("no-such-setting"), "{error:#}");
    let error = Redis::builder().setting("port 1\nx", "1").start().unwrap_err();
    assert!(
        error.to_string().contains("invalid name of a Redis setting"),
        "{error:#}"
    );
}

#[test]
fn drop_leaves_no_process_and_no_file() {
    let redis = Redis::start().unwrap();
    let folder = redis.instance().folder().to_owned();
    let record = subprocess::Record::read(&redis.instance().record).unwrap();
    assert!(record.is_alive());
    drop(redis);
    assert!(!folder.exists() && !record.is_alive());
}
