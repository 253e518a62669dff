//! A browser of the test's own: headless Chromium, driven through chromedriver.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::error::WebDriverErrorInner;
use thirtyfour::prelude::{WebDriverError, WebDriverResult};
use thirtyfour::session::http::{Body, HttpClient};
use thirtyfour::{ChromiumLikeCapabilities as _, DesiredCapabilities, WebDriver};

/// The browser; it ends with `quit`, or with chromedriver when dropped.
pub struct Browser {
    pub page: WebDriver,
    chromedriver: Child,
    _profile: TempDir,
}

impl Browser {
    /// Starts one. `None`, said past the test runner's capture, where it is not installed.
    pub async fn start(what: &str) -> Option<Self> {
        let browser = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(installed);
        let (Some(browser), Some(driver)) = (browser, installed("chromedriver")) else {
            roomz_tests::skipped(what, "there are no `chromium` and `chromedriver` on the PATH");
            return None;
        };
        let mut chromedriver = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(chromedriver.stdout.take().unwrap()).lines();
        let port = lines
            .find_map(|line| Some(line.unwrap().split_once("successfully on port ")?.1.replace('.', "")))
            .unwrap();
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));

        let profile = tempfile::tempdir().unwrap();
        let mut wanted = DesiredCapabilities::chrome();
        wanted.set_binary(browser.to_str().unwrap()).unwrap();
        for argument in [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--lang=en",
            "--window-size=1280,800",
            &format!("--user-data-dir={}", profile.path().display()),
        ] {
            wanted.add_arg(argument).unwrap();
        }
        let url = format!("http://127.0.0.1:{port}");
        let page = WebDriver::builder(url, wanted).client(Loopback::new()).connect().await.unwrap();
        let browser = Self { page, chromedriver, _profile: profile };
        browser.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": WATCH })).await;
        Some(browser)
    }

    /// A command of the Chrome DevTools protocol.
    pub async fn cdp(&self, method: &str, parameters: Value) -> Value {
        self.page.cdp().send_raw(method, parameters).await.unwrap()
    }

    /// The value of a JavaScript expression.
    pub async fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        self.page.execute(script, vec![]).await.unwrap().json().clone()
    }

    /// The same for text.
    pub async fn text(&self, expression: &str) -> String {
        self.value(expression).await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a JavaScript expression is true.
    pub async fn until(&self, expression: &str) {
        let start = Instant::now();
        while self.value(expression).await != true {
            assert!(start.elapsed() < Duration::from_secs(30), "never: {expression}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A media feature as the reader of the page has it set.
    pub async fn media(&self, features: &[(&str, &str)]) {
        let features: Vec<_> =
            features.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        self.cdp("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// A window of this size.
    pub async fn size(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Ends it, after a look at what went wrong in the page.
    pub async fn quit(self) {
        assert_eq!(self.value("window.wrong").await, json!([]), "what went wrong in the page");
        self.page.clone().quit().await.unwrap();
    }
}

/// Errors of the script, and what the Content-Security-Policy kept away.
const WATCH: &str = "
    window.wrong = [];
    addEventListener('error', (event) => wrong.push(String(event.message)));
    addEventListener('unhandledrejection', (event) => wrong.push(String(event.reason)));
    addEventListener('securitypolicyviolation', (event) => wrong.push(event.violatedDirective + event.blockedURI));
";

impl Drop for Browser {
    fn drop(&mut self) {
        // With its browser, which a test that failed has not ended: both are in a group of their own.
        let group = format!("-{}", self.chromedriver.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
        let _ = self.chromedriver.wait();
    }
}

fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// Talks to chromedriver on the loopback interface, without TLS and what that would bring along.
struct Loopback(Client<HttpConnector, Full<Bytes>>);

impl Loopback {
    fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }
}

#[async_trait::async_trait]
impl HttpClient for Loopback {
    async fn send(&self, request: Request<Body<'_>>) -> WebDriverResult<Response<Bytes>> {
        let request = request.map(|body| match body {
            Body::Empty => Full::default(),
            Body::Json(json) => Full::from(json.to_string()),
        });
        let response = self.0.request(request).await.map_err(failed)?;
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, body.collect().await.map_err(failed)?.to_bytes()))
    }

    async fn new(&self) -> Arc<dyn HttpClient> {
        Arc::new(Self::new())
    }
}

fn failed(error: impl std::error::Error) -> WebDriverError {
    WebDriverErrorInner::RequestFailed(error.to_string()).into()
}
