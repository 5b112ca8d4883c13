//! A headless Chromium, spoken to over its pipe: the DevTools protocol as JSON with a zero byte at the end.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// After so long without a word the browser is given up: no measure of its speed.
const SILENCE: Duration = Duration::from_secs(120);

const FLAGS: &str = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync \
                     --disable-background-networking --disable-component-update \
                     --disable-dev-shm-usage --remote-debugging-pipe";

pub struct Browser {
    process: Child,
    input: Option<ChildStdin>,
    answers: Receiver<Value>,
    session: Option<String>,
    calls: u64,
    /// Exceptions, words on the console and entries of the log since the last visit.
    pub complaints: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// The one that $CHROMIUM names, or one under a usual name; `None`, with a word on stderr, where there is
    /// none that starts.
    pub fn open() -> Option<Self> {
        let named = std::env::var("CHROMIUM").ok();
        let usual = ["chromium", "chromium-browser", "google-chrome"].map(str::to_owned);
        let runs =
            |name: &String| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success());
        let Some(name) = named.into_iter().chain(usual).find(runs) else {
            eprintln!("skipped: no Chromium on this machine (install it, or set CHROMIUM to one)");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        // the pipe is on descriptors 3 and 4
        let script =
            format!("exec \"$0\" {FLAGS} --user-data-dir=\"$1\" 3<&0 4>&1 >/dev/null 2>&1 </dev/null");
        let mut process = Command::new("sh")
            .args(["-c", &script, &name])
            .arg(profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, answers) = channel();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                message.pop();
                if send.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let input = process.stdin.take();
        let (session, complaints) = (None, Vec::new());
        let mut browser =
            Browser { process, input, answers, session, calls: 0, complaints, _profile: profile };
        if browser.try_call("Browser.getVersion", json!({})).is_none() {
            eprintln!("skipped: {name} does not start");
            return None;
        }
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// The next message; `None` when the browser is gone, or silent for too long.
    fn hear(&mut self) -> Option<Value> {
        let message = self.answers.recv_timeout(SILENCE).ok()?;
        if let Some("Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded") =
            message["method"].as_str()
        {
            self.complaints.push(message["params"].clone());
        }
        Some(message)
    }

    fn try_call(&mut self, method: &str, params: Value) -> Option<Value> {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.input.as_mut()?.write_all(format!("{message}\0").as_bytes()).ok()?;
        loop {
            let mut answer = self.hear()?;
            if answer["id"] == self.calls {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return Some(answer["result"].take());
            }
        }
    }

    /// Sends one command and waits for its result.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params).unwrap_or_else(|| panic!("{method}: the browser is silent"))
    }

    /// Opens a file in a window of this many pixels, and waits until it is loaded.
    pub fn visit(&mut self, file: &Path, [width, height]: [u32; 2]) {
        let screen =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", screen);
        self.complaints.clear();
        self.call("Page.navigate", json!({ "url": format!("file://{}", file.display()) }));
        while self.hear().expect("the browser is silent")["method"] != "Page.loadEventFired" {}
    }

    /// The value of an expression in the page; a promise's when it is kept.
    pub fn value(&mut self, expression: &str) -> Value {
        let ask = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", ask);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].take()
    }

    /// Presses and lets go the mouse.
    pub fn click(&mut self, [x, y]: [f64; 2]) {
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Turns the wheel: negative is away from the person.
    pub fn wheel(&mut self, [x, y]: [f64; 2], [across, down]: [f64; 2]) {
        let event = json!({ "type": "mouseWheel", "x": x, "y": y, "deltaX": across, "deltaY": down });
        self.call("Input.dispatchMouseEvent", event);
    }

    /// Types a key that makes a character.
    pub fn key(&mut self, key: &str) {
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyDown", "key": key, "text": key }));
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key }));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // its other processes end with the pipe
        self.input = None;
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
