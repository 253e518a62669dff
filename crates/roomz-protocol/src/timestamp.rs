use jiff::Timestamp;

/// Parses an RFC 3339 date-time, or the form of ROOMZ's first draft, whose offset has no colon (`+0000`).
///
/// `jiff` accepts many more forms (week dates, zone annotations, no seconds). Therefore this function checks
/// the shape and lets `jiff` check the numbers. Fractions are truncated to nanoseconds. The latest instant is
/// that of `jiff`, 9999-12-30T22:00:00Z.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    const DATE_TIME: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let (date_time, rest) = text.as_bytes().split_at_checked(DATE_TIME.len())?;
    if !has_shape(date_time, DATE_TIME) {
        return None;
    }
    let (fraction, offset) = match rest.strip_prefix(b".") {
        Some(rest) => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return None;
            }
            rest.split_at(digits)
        }
        None => (&[][..], rest),
    };
    let has_shape_of_offset =
        || [&b"+dd:dd"[..], b"-dd:dd", b"+dddd", b"-dddd"].iter().any(|shape| has_shape(offset, shape));
    // `jiff` accepts offsets up to 25:59:59.
    let offset_is_valid = offset.eq_ignore_ascii_case(b"z")
        || has_shape_of_offset() && offset.get(1..3).is_some_and(|hour| hour < b"24".as_slice());
    if !offset_is_valid {
        return None;
    }
    if fraction.len() <= 9 {
        return text.parse().ok();
    }
    let end_of_fraction = DATE_TIME.len() + 1 + 9;
    let start_of_offset = text.len() - offset.len();
    format!("{}{}", text.get(..end_of_fraction)?, text.get(start_of_offset..)?).parse().ok()
}

/// Compares text with a shape, in which `d` matches a digit, `T` matches `T` and `t`, and every other byte
/// itself.
fn has_shape(text: &[u8], shape: &[u8]) -> bool {
    text.len() == shape.len()
        && text.iter().zip(shape).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            b'T' => byte.eq_ignore_ascii_case(&b'T'),
            _ => byte == shape,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_rfc_3339_and_draft_form() {
        for (text, expected) in [
            ("2024-05-21T08:22:32.452Z", "2024-05-21T08:22:32.452Z"),
            ("2024-05-21t08:22:32z", "2024-05-21T08:22:32Z"),
            ("2024-05-21T10:22:32+02:00", "2024-05-21T08:22:32Z"),
            ("2024-05-21T08:22:32-00:00", "2024-05-21T08:22:32Z"),
            ("2024-02-02T09:13:44+0000", "2024-02-02T09:13:44Z"),
            ("2024-02-02T09:13:44.5-0130", "2024-02-02T10:43:44.5Z"),
            ("2024-05-21T08:22:32.1234567Z", "2024-05-21T08:22:32.1234567Z"),
            ("2024-05-21T08:22:32.1234567899999+00:00", "2024-05-21T08:22:32.123456789Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
        ] {
            assert_eq!(parse(text).map(|t| t.to_string()).as_deref(), Some(expected), "{text}");
        }
    }

    /// Rejects text that resembles a date-time, including forms that `jiff` accepts.
    #[test]
    fn rejects_other_date_forms() {
        for text in [
            "",
            "2024-05-21",
            "2024-05-21T08:22Z",
            "2024-05-21T08:22:32",
            "2024-05-21 08:22:32Z",
            "2024-05-21T08:22:32.Z",
            "2024-05-21T08:22:32,5Z",
            "2024-05-21T08:22:32+02",
            "2024-05-21T08:22:32+01:00:30",
            "2024-05-21T08:22:32+24:00",
            "2024-05-21T08:22:32-2506",
            "2024-05-21T08:22:32Z[Europe/Zurich]",
            "20240521T082232Z",
            "+002024-05-21T08:22:32Z",
            "2024-13-21T08:22:32Z",
            "2024-05-21T25:22:32Z",
            "2024-05-21T08:22:32Z ",
            "2024-05-2\u{661}T08:22:32Z",
            "1716279752",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
