//! The proxy of the environment, which `reqwest` uses. This module names it in messages.

use anyhow::{Result, bail};
use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

pub(crate) const PROXY_ADVICE: &str = "check the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, such as \
                                       http://USER:PASSWORD@HOST:PORT; NO_PROXY=HOST sends without";

/// Returns host and port of the proxy to the URL. Fails when a variable names none that can be used, because
/// it would be ignored.
pub(super) fn find_proxy(url: &Url) -> Result<Option<String>> {
    let Ok(uri) = url.as_str().parse::<Uri>() else { return Ok(None) };
    let of_scheme = format!("{}_PROXY", url.scheme().to_ascii_uppercase());
    for name in [&of_scheme, "ALL_PROXY"] {
        for name in [name.to_owned(), name.to_ascii_lowercase()] {
            let value = std::env::var(&name).unwrap_or_default();
            if !value.is_empty() && Matcher::builder().all(value).build().intercept(&uri).is_none() {
                bail!("{name} is not the URL of a proxy, such as http://USER:PASSWORD@HOST:PORT");
            }
        }
    }
    Ok(Matcher::from_env().intercept(&uri).and_then(|proxy| Some(proxy.uri().authority()?.to_string())))
}
