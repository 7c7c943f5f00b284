//! A private Redis: password, persistence, faults.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use embedded::Redis;

/// Sends commands in one go and gives all answers: an inline command is a line.
fn ask(redis: &Redis, commands: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, redis.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
        .write_all(format!("{commands}\r\nQUIT\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
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
fn it_needs_its_password() {
    let redis = Redis::start().unwrap();
    assert!(ask(&redis, "GET x").starts_with("-NOAUTH"));
    assert!(ask(&redis, "AUTH wrong").starts_with("-WRONGPASS"));
    assert!(ask(&redis, &format!("AUTH {}\r\nSET x 1\r\nGET x", password(&redis))).contains("$1\r\n1\r\n"));
}

#[test]
fn a_password_may_be_odd() {
    let redis = Redis::builder().password("a b\"c\\d'e@f:g/ä").start().unwrap();
    assert!(
        redis.url().contains("a%20b%22c%5Cd%27e%40f%3Ag%2F%C3%A4@"),
        "{}",
        redis.url()
    );
    assert!(ask(&redis, r#"AUTH "a b\"c\\d'e@f:g/ä""#).starts_with("+OK"));
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
fn what_was_written_survives_a_stop_and_a_kill() {
    let redis = Redis::builder().setting("appendfsync", "always").start().unwrap();
    let auth = format!("AUTH {}\r\n", password(&redis));
    ask(&redis, &format!("{auth}XADD spool * event 1"));
    redis.stop().unwrap();
    assert!(!redis.is_running());
    redis.start_again().unwrap();
    ask(&redis, &format!("{auth}XADD spool * event 2"));
    redis.kill().unwrap();
    redis.start_again().unwrap();
    assert!(ask(&redis, &format!("{auth}XLEN spool")).contains(":2\r\n"));
}

#[test]
fn without_its_file_it_forgets() {
    let redis = Redis::builder().append_only(false).start().unwrap();
    let auth = format!("AUTH {}\r\n", password(&redis));
    ask(&redis, &format!("{auth}SET x 1"));
    redis.restart().unwrap();
    assert!(ask(&redis, &format!("{auth}GET x")).contains("$-1\r\n"));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let error = Redis::builder().port(port).start().unwrap_err();
    assert!(
        format!("{error:#}").contains(&format!("port {port} of 127.0.0.1")),
        "{error:#}"
    );
}

#[test]
fn a_setting_that_redis_does_not_know_is_told_in_its_words() {
    let error = Redis::builder()
        .setting("no-such-setting", "1")
        .start()
        .unwrap_err();
    assert!(format!("{error:#}").contains("no-such-setting"), "{error:#}");
    let error = Redis::builder().setting("port 1\nx", "1").start().unwrap_err();
    assert!(
        error.to_string().contains("is not the name of a Redis setting"),
        "{error:#}"
    );
}

#[test]
fn dropped_it_leaves_no_process_and_no_file() {
    let redis = Redis::start().unwrap();
    let folder = redis.instance().folder().to_owned();
    let record = subprocess::Record::read(&redis.instance().record).unwrap();
    assert!(record.is_alive());
    drop(redis);
    assert!(!folder.exists() && !record.is_alive());
}
