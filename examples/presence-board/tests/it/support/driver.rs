//! Headless Chromium, controlled through chromedriver.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
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

/// How long `wait_until` waits.
const GIVE_UP: Duration = Duration::from_secs(60);

/// A browser with one page. `quit` or `Drop` ends it.
pub struct Browser {
    pub page: WebDriver,
    chromedriver: Child,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser. Where none is installed, reports the skipped `test` on stderr and returns `None`.
    pub async fn start(test: &str) -> Option<Self> {
        let browser = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(installed);
        let (Some(browser), Some(driver)) = (browser, installed("chromedriver")) else {
            roomz_tests::skipped(test, "`chromium` or `chromedriver` is not on the PATH");
            return None;
        };
        // Chromedriver chooses a port and exits if another program has taken it meanwhile, for example for
        // IPv4 only.
        let (chromedriver, port) = (0..5).find_map(|_| start_chromedriver(&driver)).unwrap();
        let profile = tempfile::tempdir().unwrap();
        let mut capabilities = DesiredCapabilities::chrome();
        capabilities.set_binary(browser.to_str().unwrap()).unwrap();
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
            capabilities.add_arg(argument).unwrap();
        }
        let url = format!("http://127.0.0.1:{port}");
        let page =
            WebDriver::builder(url, capabilities).client(PlainHttpClient::new()).connect().await.unwrap();
        let browser = Self { page, chromedriver, _profile: profile };
        browser.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": COLLECT_ERRORS })).await;
        Some(browser)
    }

    /// Sends a command of the Chrome DevTools Protocol.
    pub async fn cdp(&self, method: &str, parameters: Value) -> Value {
        self.page.cdp().send_raw(method, parameters).await.unwrap()
    }

    /// Evaluates a JavaScript expression.
    pub async fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        self.page.execute(script, vec![]).await.unwrap().json().clone()
    }

    /// Evaluates a JavaScript expression whose value is text.
    pub async fn text(&self, expression: &str) -> String {
        self.value(expression).await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a JavaScript expression is true.
    pub async fn wait_until(&self, expression: &str) {
        let start = Instant::now();
        while self.value(expression).await != true {
            assert!(start.elapsed() < GIVE_UP, "still not true: {expression}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Emulates media features such as `prefers-color-scheme`.
    pub async fn set_media(&self, features: &[(&str, &str)]) {
        let features: Vec<_> =
            features.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        self.cdp("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Sets the size of the window in pixels.
    pub async fn set_size(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Ends the browser, and fails when the page had an error.
    pub async fn quit(self) {
        assert_eq!(self.value("window.collectedErrors").await, json!([]), "errors of the page");
        self.page.clone().quit().await.unwrap();
    }
}

/// Starts chromedriver. Returns the process and its port, or `None` if it exits at once.
fn start_chromedriver(program: &Path) -> Option<(Child, String)> {
    let mut chromedriver = Command::new(program)
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(chromedriver.stdout.take().unwrap()).lines();
    let port =
        lines.find_map(|line| Some(line.unwrap().split_once("successfully on port ")?.1.replace('.', "")));
    let Some(port) = port else {
        chromedriver.wait().unwrap();
        return None;
    };
    // Reads the later output, so that chromedriver does not block on a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    Some((chromedriver, port))
}

/// Collects errors of the script and violations of the Content-Security-Policy.
const COLLECT_ERRORS: &str = "
    window.collectedErrors = [];
    addEventListener('error', (event) => collectedErrors.push(String(event.message)));
    addEventListener('unhandledrejection', (event) => collectedErrors.push(String(event.reason)));
    addEventListener('securitypolicyviolation', (event) => collectedErrors.push(event.violatedDirective + event.blockedURI));
";

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the process group, because the browser still runs when a test has failed.
        let group = format!("-{}", self.chromedriver.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
        let _ = self.chromedriver.wait();
    }
}

fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// An HTTP client without TLS and its dependencies: chromedriver listens on the loopback interface.
struct PlainHttpClient(Client<HttpConnector, Full<Bytes>>);

impl PlainHttpClient {
    fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }
}

#[async_trait::async_trait]
impl HttpClient for PlainHttpClient {
    async fn send(&self, request: Request<Body<'_>>) -> WebDriverResult<Response<Bytes>> {
        let request = request.map(|body| match body {
            Body::Empty => Full::default(),
            Body::Json(json) => Full::from(json.to_string()),
        });
        let response = self.0.request(request).await.map_err(to_webdriver_error)?;
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, body.collect().await.map_err(to_webdriver_error)?.to_bytes()))
    }

    async fn new(&self) -> Arc<dyn HttpClient> {
        Arc::new(Self::new())
    }
}

fn to_webdriver_error(error: impl std::error::Error) -> WebDriverError {
    WebDriverErrorInner::RequestFailed(error.to_string()).into()
}
