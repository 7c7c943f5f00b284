//! Schedules of cron jobs, by the rules of the library that Kubernetes uses.

use serde_json::Value;

use crate::object::text;
use crate::resources::names::quoted;
use crate::status::Cause;

/// The fields: minimum, maximum, and names from the minimum on.
const FIELDS: [(u32, u32, &[&str]); 5] = [
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &[]),
    (
        1,
        12,
        &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    ),
    (0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];
const DESCRIPTORS: &[&str] = &[
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
];

/// Checks the specification of a cron job.
pub(super) fn check(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    const POLICIES: [&str; 3] = ["Allow", "Forbid", "Replace"];
    check_schedule(object, old, causes);
    let policy = text(object, "/spec/concurrencyPolicy");
    if !POLICIES.contains(&policy) {
        causes.push(Cause::not_supported(
            "spec.concurrencyPolicy",
            &quoted(policy),
            &POLICIES.map(quoted),
        ));
    }
    for name in [
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    ] {
        if let Some(number @ ..0) = object["spec"][name].as_i64() {
            let detail = "must be greater than or equal to 0";
            causes.push(Cause::invalid(
                format!("spec.{name}"),
                &number.to_string(),
                detail,
            ));
        }
    }
}

fn check_schedule(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let schedule = text(object, "/spec/schedule");
    let field = "spec.schedule";
    if schedule.is_empty() {
        return;
    }
    if let Err(what) = parse(schedule) {
        causes.push(Cause::invalid(field, &quoted(schedule), &what));
    }
    let names_zone = |schedule: &str| schedule.contains("TZ");
    if names_zone(schedule) && !old.is_some_and(|old| names_zone(text(old, "/spec/schedule"))) {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        causes.push(Cause::invalid(field, &quoted(schedule), detail));
    }
    if let Some(zone) = object.pointer("/spec/timeZone").and_then(Value::as_str) {
        let detail = match zone {
            "" => "timeZone must be nil or non-empty string".to_owned(),
            zone if zone.eq_ignore_ascii_case("local") => {
                "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
                    .to_owned()
            }
            zone if is_zone(zone) => return,
            zone => format!("unknown time zone {zone}"),
        };
        causes.push(Cause::invalid("spec.timeZone", &quoted(zone), &detail));
    }
}

/// Whether a time zone exists; every one where the machine has no database of them.
fn is_zone(name: &str) -> bool {
    let database = jiff::tz::db();
    database.is_definitively_empty()
        || database
            .get(name)
            .is_ok_and(|zone| zone.iana_name() == Some(name))
}

fn parse(schedule: &str) -> Result<(), String> {
    let mut rest = schedule;
    if rest.starts_with("TZ=") || rest.starts_with("CRON_TZ=") {
        let (zone, after) = rest.split_once(' ').unwrap_or((rest, ""));
        let (_, zone) = zone.split_once('=').unwrap_or_default();
        if !is_zone(zone) {
            return Err(format!("provided bad location {zone}: unknown time zone {zone}"));
        }
        rest = after.trim();
    }
    if rest.starts_with('@') {
        return descriptor(rest);
    }
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let count = fields.len();
        return Err(format!(
            "expected exactly 5 fields, found {count}: [{}]",
            fields.join(" ")
        ));
    }
    for (field, bounds) in fields.iter().zip(FIELDS) {
        field
            .split(',')
            .filter(|range| !range.is_empty())
            .try_for_each(|range| parse_range(range, bounds))?;
    }
    Ok(())
}

fn descriptor(text: &str) -> Result<(), String> {
    if let Some(duration) = text.strip_prefix("@every ") {
        return match crate::schema::is_go_duration(duration) {
            true => Ok(()),
            false => Err(format!(
                "failed to parse duration {text}: time: invalid duration {}",
                quoted(duration)
            )),
        };
    }
    match DESCRIPTORS.contains(&text) {
        true => Ok(()),
        false => Err(format!("unrecognized descriptor: {text}")),
    }
}

fn parse_range(text: &str, (minimum, maximum, names): (u32, u32, &[&str])) -> Result<(), String> {
    let steps: Vec<&str> = text.split('/').collect();
    let bounds: Vec<&str> = steps[0].split('-').collect();
    let number = |text: &str| {
        let lower = text.to_lowercase();
        match names.iter().position(|name| *name == lower) {
            Some(index) => Ok(minimum + u32::try_from(index).unwrap_or_default()),
            None => parse_number(text),
        }
    };
    let (start, mut end) = if matches!(bounds[0], "*" | "?") {
        (minimum, maximum)
    } else {
        let start = number(bounds[0])?;
        match bounds.as_slice() {
            [_] => (start, start),
            [_, end] => (start, number(end)?),
            _ => return Err(format!("too many hyphens: {text}")),
        }
    };
    let step = match steps.as_slice() {
        [_] => 1,
        [_, step] => {
            // `5/10` is `5-59/10`.
            if bounds.len() == 1 {
                end = maximum;
            }
            parse_number(step)?
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    if start < minimum {
        return Err(format!(
            "beginning of range ({start}) below minimum ({minimum}): {text}"
        ));
    }
    if end > maximum {
        return Err(format!("end of range ({end}) above maximum ({maximum}): {text}"));
    }
    if start > end {
        return Err(format!(
            "beginning of range ({start}) beyond end of range ({end}): {text}"
        ));
    }
    match step {
        0 => Err(format!("step of range should be a positive number: {text}")),
        _ => Ok(()),
    }
}

fn parse_number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| {
        format!(
            "failed to parse int from {text}: strconv.Atoi: parsing {}: invalid syntax",
            quoted(text)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_real_server_accepts() {
        for schedule in [
            "* * * * *",
            "@hourly",
            "@every 1h",
            "*/5 * * * *",
            "1-5/2 * * * *",
            "* * * JAN MON",
            "* * * * MON-FRI",
            "1,2,3 * * * *",
            "1,,2 * * * *",
            "? * ? * ?",
            "1/2 * * * *",
            "*-3 * * * *",
            "0 0 31 2 *",
            "  * * * * *  ",
            "*/100 * * * *",
        ] {
            assert_eq!(parse(schedule), Ok(()), "{schedule}");
        }
    }

    #[test]
    fn rejects_with_the_messages_of_the_real_server() {
        for (schedule, message) in [
            ("bad", "expected exactly 5 fields, found 1: [bad]"),
            (
                "@every x",
                "failed to parse duration @every x: time: invalid duration \"x\"",
            ),
            ("@nope", "unrecognized descriptor: @nope"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* * * * 7", "end of range (7) above maximum (6): 7"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            (
                "5-1 * * * *",
                "beginning of range (5) beyond end of range (1): 5-1",
            ),
            ("* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]"),
            (
                "-1 * * * *",
                "failed to parse int from : strconv.Atoi: parsing \"\": invalid syntax",
            ),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1//2 * * * *", "too many slashes: 1//2"),
            (
                "a-b * * * *",
                "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax",
            ),
            (
                "TZ=Nope/Nope * * * * *",
                "provided bad location Nope/Nope: unknown time zone Nope/Nope",
            ),
        ] {
            assert_eq!(parse(schedule).unwrap_err(), message, "{schedule}");
        }
    }
}
