//! The timestamp, compared with chrono.

use arbitrary::Arbitrary;
use chrono::DateTime;
use roomz_protocol::Event;

/// The latest time of jiff.
const MAX: i64 = 253_402_207_200;

#[derive(Arbitrary)]
struct Parts<'a> {
    numbers: [u16; 6],
    fraction: Option<u64>,
    is_negative: bool,
    offset: (u8, u8),
    form: u8,
    end: &'a str,
}

impl Parts<'_> {
    fn text(&self) -> String {
        // Of each, one value more than there is.
        let [year, month, day, hour, minute, second] = self.numbers;
        let (month, day, hour, minute, second) = (month % 14, day % 33, hour % 26, minute % 62, second % 62);
        let fraction = self.fraction.map_or(String::new(), |digits| format!(".{digits}"));
        let sign = if self.is_negative { '-' } else { '+' };
        let (offset_hour, offset_minute) = (self.offset.0 % 28, self.offset.1 % 62);
        let offset = match self.form % 5 {
            0 => "Z".to_owned(),
            1 => "z".to_owned(),
            2 => format!("{sign}{offset_hour:02}{offset_minute:02}"),
            _ => format!("{sign}{offset_hour:02}:{offset_minute:02}"),
        };
        let end = self.end;
        format!(
            "{:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{offset}{end}",
            year % 10_001
        )
    }
}

pub fn run(input: &[u8]) {
    let generated = crate::generate(input).map(|parts: Parts<'_>| parts.text());
    let text = generated.unwrap_or_else(|| String::from_utf8_lossy(input).into_owned());
    let json = serde_json::to_string(&text).unwrap();
    let event = format!(r#"{{"id":"e6ae112e2af34d72894b03435d7afde4","type":"a","timestamp":{json}}}"#);
    let found = Event::parse(event.as_bytes()).unwrap().timestamp;
    assert_eq!(found.map(|it| (it.as_second(), it.subsec_nanosecond())), read(&text), "{text}");
}

/// Reads RFC 3339 or the form of the first draft. A fraction is of the second before 1970, too, as in jiff.
pub fn read(text: &str) -> Option<(i64, i32)> {
    let (_, time) = text.split_once(['T', 't']).filter(|(date, _)| date.len() == 10 && text.is_ascii())?;
    let mut text = text.to_owned();
    // Any 60th second is read as the one before, because the table of leap seconds may be old.
    if time.get(6..8) == Some("60") {
        text.replace_range(17..19, "59");
    }
    let is_draft = |it: &[u8]| b"+-".contains(&it[0]) && it[1..].iter().all(u8::is_ascii_digit);
    if text.as_bytes().last_chunk().is_some_and(|it: &[u8; 5]| is_draft(it)) {
        text.insert(text.len() - 2, ':');
    }
    let time = DateTime::parse_from_rfc3339(&text).ok()?;
    let (mut second, mut nanosecond) = (time.timestamp(), time.timestamp_subsec_nanos().cast_signed());
    if second < 0 && nanosecond > 0 {
        (second, nanosecond) = (second + 1, nanosecond - 1_000_000_000);
    }
    ((second, nanosecond) <= (MAX, 0)).then_some((second, nanosecond))
}
