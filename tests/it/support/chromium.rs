//! A real browser: Chromium without a window, driven by its own chromedriver. `./test.sh` installs both;
//! `PAIDUP_TEST_CHROMIUM` and `PAIDUP_TEST_CHROMEDRIVER` name them where they are not on the path. Without
//! them the tests fail; they are not skipped.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};

/// No sandbox, as it would have none under root; and nothing of its own business with the net.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-device-scale-factor=1",
];

/// A browser with one page, gone when this is closed or dropped.
pub struct Chromium {
    driver: Child,
    folder: PathBuf,
    /// Of the driver.
    session: String,
    http: reqwest::Client,
    pub page: Client,
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The driver ends its browser when it is asked to; a test that failed does not ask.
        let _ = Command::new("pkill").args(["-P", &self.driver.id().to_string()]).status();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn program(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}

impl Chromium {
    pub async fn open(width: u32, height: u32) -> Self {
        let name = hex::encode(paidup::dev::random::<8>().expect("random"));
        let folder = std::env::temp_dir().join(format!("paidup_chromium_{name}"));
        std::fs::create_dir(&folder).expect("a folder");
        let path = program("PAIDUP_TEST_CHROMEDRIVER", "chromedriver");
        let mut driver = Command::new(path)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect(
                "chromedriver runs; ./test.sh installs it, or PAIDUP_TEST_CHROMEDRIVER names one",
            );
        let lines = BufReader::new(driver.stdout.take().expect("its output")).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            Some(
                line.strip_prefix("ChromeDriver was started successfully on port ")?
                    .trim_end_matches('.')
                    .to_owned(),
            )
        });
        let url = format!("http://127.0.0.1:{}", port.expect("chromedriver tells its port"));
        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).to_vec();
        arguments.push(format!("--user-data-dir={}", folder.display()));
        arguments.push(format!("--window-size={width},{height}"));
        let binary = program("PAIDUP_TEST_CHROMIUM", "/usr/bin/chromium");
        let wanted = json!({
            "goog:chromeOptions": { "args": arguments, "binary": binary },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(wanted) = wanted else { panic!("an object") };
        let page = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(wanted)
            .connect(&url)
            .await
            .expect("Chromium opens");
        let id = page.session_id().await.expect("the driver").expect("a session");
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { driver, folder, session: format!("{url}/session/{id}"), http, page }
    }

    /// What WebDriver does not know and the driver does.
    async fn ask(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/{path}", self.session);
        let answer = self.http.post(url).body(body.to_string()).send().await.expect("an answer");
        let (status, answer) = (answer.status(), answer.text().await.expect("text"));
        assert!(status.is_success(), "{path}: {answer}");
        let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
        answer["value"].take()
    }

    /// A command of the browser's own protocol (chromedevtools.github.io/devtools-protocol).
    async fn command(&self, name: &str, parameters: Value) {
        self.ask("goog/cdp/execute", json!({ "cmd": name, "params": parameters })).await;
    }

    /// Shows pages as to somebody who likes it `dark` or `light`.
    pub async fn prefers(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Shows pages in this size. A window could be told to have it too, but takes it when it likes.
    pub async fn size(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// What the browser complained of since it was last asked: errors, and breaches of the policy.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.ask("se/log", json!({ "type": "browser" })).await;
        let lines = log.as_array().expect("lines").iter();
        lines
            .filter(|line| line["level"] != "INFO" && line["level"] != "DEBUG")
            .map(Value::to_string)
            .collect()
    }

    pub async fn goto(&self, url: &str) {
        self.page.goto(url).await.expect(url);
    }

    /// The element that this path of CSS leads to, as soon as it is there.
    pub async fn element(&self, css: &str) -> fantoccini::elements::Element {
        self.page.wait().for_element(Locator::Css(css)).await.expect(css)
    }

    pub async fn text(&self, css: &str) -> String {
        self.element(css).await.text().await.expect("text")
    }

    pub async fn click(&self, css: &str) {
        self.element(css).await.click().await.expect(css);
    }

    pub async fn close(self) {
        self.page.clone().close().await.expect("closed");
    }
}
