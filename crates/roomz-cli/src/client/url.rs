//! The URL of the receiver.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use anyhow::Result;
use reqwest::Url;

use crate::error::usage;
use crate::escape::escape_truncated;

pub(crate) fn parse_url(text: &str) -> Result<Url> {
    try_parse(text).map_err(|problem| {
        // The message shows no query and no user information: they may contain a token or a password.
        let end: &[char] = if text.contains('@') { &[':', '?', '@'] } else { &['?'] };
        let start = escape_truncated(text.split(end).next().unwrap_or_default(), 200);
        usage(format!("invalid URL \"{start}\": {problem}; example: http://127.0.0.1:3000/webhooks/roomz"))
    })
}

fn try_parse(text: &str) -> Result<Url, String> {
    let is_http = |url: &Url| ["http", "https"].contains(&url.scheme());
    let url = match Url::parse(text) {
        Ok(url) if is_http(&url) => url,
        // `localhost:3000` has the scheme `localhost`.
        Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => {
            return Err("it does not begin with http:// or https://".to_owned());
        }
        Err(error) => return Err(error.to_string()),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it contains a user or a password, which ROOMZ does not send; remove it".to_owned());
    }
    Ok(url)
}

/// Whether the host is this machine. `0.0.0.0` leads to it, too.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    match host.trim_matches(['[', ']']).parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(ip) => ip.is_loopback() || ip.is_unspecified(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Whether the URL leads to a listener on this address.
pub(crate) fn leads_to(url: &Url, listener: SocketAddr) -> bool {
    let is_own = |ip: IpAddr| match listener.ip() {
        // Only an address of this machine can be bound.
        own if own.is_unspecified() => UdpSocket::bind((ip, 0)).is_ok(),
        own => ip == own || ip.is_unspecified() && own.is_loopback(),
    };
    let addresses = url.socket_addrs(|| None).unwrap_or_default();
    addresses.iter().any(|to| to.port() == listener.port() && is_own(to.ip().to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detects_own_address() {
        for (url, address, is_own) in [
            ("http://localhost:3000/", "127.0.0.1:3000", true),
            ("http://127.0.0.1:3000/", "0.0.0.0:3000", true),
            ("http://0.0.0.0:3000/", "127.0.0.1:3000", true),
            ("http://[::1]:3000/", "[::1]:3000", true),
            ("http://[::ffff:127.0.0.1]:3000/", "127.0.0.1:3000", true),
            ("http://192.0.2.1:3000/", "192.0.2.1:3000", true),
            ("http://localhost/", "127.0.0.1:80", true),
            ("http://localhost:3001/", "127.0.0.1:3000", false),
            ("http://127.0.0.1:3000/", "127.0.0.2:3000", false),
            ("http://127.0.0.1:3000/", "[::1]:3000", false),
            ("http://192.0.2.1:3000/", "127.0.0.1:3000", false),
            ("http://203.0.113.1:3000/", "0.0.0.0:3000", false),
        ] {
            assert_eq!(
                leads_to(&parse_url(url).unwrap(), address.parse().unwrap()),
                is_own,
                "{url} {address}"
            );
        }
    }

    #[test]
    fn detects_loopback() {
        for (url, expected) in [
            ("http://localhost:3000/", true),
            ("https://127.0.0.2/", true),
            ("http://[::1]/", true),
            ("http://[::ffff:127.0.0.1]/", true),
            ("http://0.0.0.0/", true),
            ("http://desk.localhost./", true),
            ("http://localhost.example/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(&parse_url(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn url_error_names_problem_but_no_password() {
        for (url, problem) in [
            ("localhost:3000/x", "does not begin with http://"),
            ("ftp://h/x", "does not begin with http://"),
            ("ftp://h/?token=canary", "does not begin with http://"),
            ("", "does not begin with http://"),
            ("http://", "empty host"),
            ("http://[::1", "invalid IPv6 address"),
            ("http://h:99999/", "invalid port number"),
            ("http://a b/", "domain"),
            ("http://%zz/", "domain"),
            ("http://user:canary@h/", "contains a user"),
            ("http://canary@h/", "contains a user"),
        ] {
            let message = parse_url(url).unwrap_err().to_string();
            assert!(message.contains(problem) && !message.contains("canary"), "{url}: {message}");
        }
    }
}
