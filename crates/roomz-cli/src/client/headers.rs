//! Headers of requests to a receiver.

use anyhow::Result;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use roomz_protocol::SIGNATURE_HEADER;

use crate::error::usage;
use crate::escape::escape_truncated;

/// Whether a header belongs to one connection (RFC 9110, section 7.6.1, and those that it replaced), or is
/// set from the body.
fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

pub(crate) fn user_agent() -> HeaderValue {
    HeaderValue::from_static(concat!("roomz-cli/", env!("CARGO_PKG_VERSION")))
}

/// The headers of an event from this program, with those of `--header`.
pub(crate) fn event_headers(texts: &[String]) -> Result<HeaderMap> {
    let json = HeaderValue::from_static("application/json");
    let mut headers =
        HeaderMap::from_iter([(header::CONTENT_TYPE, json), (header::USER_AGENT, user_agent())]);
    headers.extend(parse_headers(texts)?);
    Ok(headers)
}

/// Removes the headers that belong to one connection, also those that `Connection` names, and `Host` and
/// `Content-Length`, which are set again.
pub(crate) fn remove_connection_headers(headers: &mut HeaderMap) {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok());
    let own = headers.keys().filter(|name| is_of_connection(name)).cloned();
    for name in named.chain(own).chain([header::HOST]).collect::<Vec<HeaderName>>() {
        headers.remove(name);
    }
}

/// Parses the `Name: value` texts of `--header`. An error quotes only the name, because a value may be a
/// password.
///
/// `HeaderMap::extend` with the result replaces headers of the same name.
pub(crate) fn parse_headers(texts: &[String]) -> Result<HeaderMap> {
    let invalid =
        |problem| usage(format!("invalid --header: {problem}; example: --header 'X-Environment: test'"));
    texts.iter().map(|text| parse_header(text).map_err(invalid)).collect()
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("there is no colon between the name and the value")?;
    let shown = escape_truncated(name, 40);
    let name: HeaderName = name.parse().map_err(|_| {
        format!("the name \"{shown}\" may contain only letters, digits and characters such as -")
    })?;
    if name == SIGNATURE_HEADER || is_of_connection(&name) {
        return Err(format!("{shown} cannot be set, because roomz sets it for each request"));
    }
    let mut value = HeaderValue::from_bytes(value.trim().as_bytes())
        .map_err(|_| format!("the value of {shown} contains a line end or a control character; remove it"))?;
    // `Debug` then omits it.
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_headers_are_removed() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("content-length", "7"),
            ("x-kept", "1"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        remove_connection_headers(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-kept"]);
    }

    #[test]
    fn extra_headers_replace_headers_of_same_name() {
        let mut headers = HeaderMap::from_iter([(header::USER_AGENT, user_agent())]);
        let texts = ["User-Agent: mine", "x-a:1", "X-A:  2: ü "].map(str::to_owned);
        headers.extend(parse_headers(&texts).unwrap());
        assert_eq!(headers["user-agent"], "mine");
        let values: Vec<_> = headers.get_all("x-a").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(values, [&b"1"[..], "2: ü".as_bytes()]);
    }
}
