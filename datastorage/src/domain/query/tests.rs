use super::*;

const NOW: Micros = Micros(1_800_000_000_000_000); // 2027-01-15T08:00:00Z

fn read(pairs: &[(&str, &str)]) -> Result<PageRequest, Vec<Invalid>> {
    let pairs = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    PageRequest::read(pairs, NOW)
}

fn wrong(pairs: &[(&str, &str)]) -> Vec<String> {
    read(pairs)
        .unwrap_err()
        .into_iter()
        .map(|invalid| invalid.field)
        .collect()
}

#[test]
fn empty_query_is_the_first_page_of_everything() {
    let page = read(&[]).unwrap();
    assert_eq!(
        page,
        PageRequest {
            filter: Filter::default(),
            limit: 50,
            start: Start::Offset(0)
        }
    );
}

#[test]
fn times_are_instants_dates_and_spans() {
    for (text, since, until) in [
        ("24h", "2027-01-14T08:00:00Z", "2027-01-14T08:00:00Z"),
        ("90m", "2027-01-15T06:30:00Z", "2027-01-15T06:30:00Z"),
        ("7d", "2027-01-08T08:00:00Z", "2027-01-08T08:00:00Z"),
        (
            "2027-01-02",
            "2027-01-02T00:00:00Z",
            "2027-01-02T23:59:59.999999Z",
        ),
        (
            "2027-01-02T03:04:05+01:00",
            "2027-01-02T02:04:05Z",
            "2027-01-02T02:04:05Z",
        ),
    ] {
        assert_eq!(
            read(&[("since", text)]).unwrap().filter.since,
            Micros::parse(since),
            "since {text}"
        );
        assert_eq!(
            read(&[("until", text)]).unwrap().filter.until,
            Micros::parse(until),
            "until {text}"
        );
    }
    for text in [
        "",
        "h",
        "-1h",
        "1y",
        "24 h",
        "tomorrow",
        "99999999999999999999h",
        "9999999999999h",
        "100000000d",
        "-000001-01-01T00:00:00Z",
        "2027-13-01",
        "ü",
    ] {
        assert_eq!(wrong(&[("since", text)]), ["since"], "{text}");
    }
}

#[test]
fn cursor_survives_encoding_and_decoding() {
    let cursor = Cursor {
        time: Micros(-5),
        event_id: Uuid::from_u128(7),
    };
    assert_eq!(
        read(&[("cursor", &cursor.encode())]).unwrap().start,
        Start::After(cursor)
    );
    assert_eq!(wrong(&[("cursor", "xyz")]), ["cursor"]);
    assert_eq!(
        wrong(&[("cursor", &cursor.encode()), ("offset", "5")]),
        ["cursor"]
    );
}

#[test]
fn reports_every_error_at_once() {
    assert_eq!(
        wrong(&[
            ("event_categorie", "gateway"),
            ("event_outcome", "good"),
            ("limit", "1001"),
            ("offset", "-1"),
            ("since", "1h"),
            ("until", "2h"),
            ("detail_key", "a"),
            ("severity", "a"),
            ("severity", "b"),
        ]),
        [
            "event_outcome",
            "severity",
            "detail_value",
            "since",
            "limit",
            "offset",
            "event_categorie"
        ]
        .map(str::to_owned)
        .into_iter()
        .collect::<Vec<_>>()
    );
}

#[test]
fn detail_matches_as_text_and_as_parsed_value() {
    let documents = |key: &str, value: &str| {
        read(&[("detail_key", key), ("detail_value", value)])
            .unwrap()
            .filter
            .detail
            .unwrap()
            .documents()
    };
    assert_eq!(documents("a.b", "5"), [r#"{"a":{"b":"5"}}"#, r#"{"a":{"b":5}}"#]);
    assert_eq!(documents("a", "true"), [r#"{"a":"true"}"#, r#"{"a":true}"#]);
    assert_eq!(documents("a", "it's \"x\""), [r#"{"a":"it's \"x\""}"#]);
    assert_eq!(documents("a", "[1]"), [r#"{"a":"[1]"}"#]);
}
