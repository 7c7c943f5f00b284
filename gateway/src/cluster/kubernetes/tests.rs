use super::*;

fn failed(status: u16, body: &str) -> Failed {
    Failed::from_response(StatusCode::from_u16(status).unwrap(), None, body.as_bytes())
}

#[test]
fn quota_contention_is_retried() {
    let body = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",
        "message":"Operation cannot be fulfilled on resourcequotas \"objects\": the object has been modified; please apply your changes to the latest version and try again",
        "reason":"Conflict","details":{"name":"objects","kind":"resourcequotas"},"code":409}"#;
    let failed = failed(409, body);
    assert!(matches!(
        failed.error,
        Error::Unavailable {
            cause: Cause::Contended,
            ..
        }
    ));
    assert_eq!((failed.again, failed.verdict), (Some(None), Verdict::Works));
    assert!(!failed.error.is_unknown(), "nothing was created");
}

#[test]
fn conflicts_of_the_request_itself_are_not_retried_as_they_are() {
    let status = |reason: &str| {
        format!(
            r#"{{"kind":"Status","reason":"{reason}","details":{{"kind":"remediationrequests"}},"code":409}}"#
        )
    };
    for (reason, error) in [
        ("Conflict", Error::Conflict),
        ("AlreadyExists", Error::AlreadyExists),
    ] {
        let failed = failed(409, &status(reason));
        assert_eq!((failed.error, failed.again), (error, None));
    }
}

#[test]
fn failures_are_attributed_to_their_cause() {
    let webhook = r#"{"kind":"Status","message":"Internal error occurred: failed calling webhook \"x\"","reason":"InternalError","code":500}"#;
    for (status, body, verdict) in [
        (500, webhook, Verdict::ScopeFails),
        (503, webhook, Verdict::ScopeFails),
        (503, "<html>no backend</html>", Verdict::ApiFails),
        (429, "", Verdict::Works),
        (403, webhook, Verdict::Works),
        (422, webhook, Verdict::Works),
    ] {
        assert_eq!(failed(status, body).verdict, verdict, "{status} {body}");
    }
}
