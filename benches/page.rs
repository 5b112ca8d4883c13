//! How long a page of a hundred thousand ops keeps a browser from answering while its timeline zooms and pans:
//! frames one after the other, as a hand on the wheel makes them, and the browser's own count of long tasks.
//! Needs a Chromium; says so where there is none.

#[path = "../tests/page/browser.rs"]
#[allow(dead_code)] // the tests ask it for more
mod browser;

use browser::Browser;
use gettime::evaluate::{Overrides, evaluate};
use gettime::plan::{self, Plan};
use gettime::report;
use gettime::source::{Source, sheet};
use gettime::spec::Microbatches;

/// 60 steps in, 60 along, 80 out; milliseconds from one frame to the next, and of tasks above 50 ms.
const JOURNEY: &str = "(async () => {
    const tasks = [], frames = [], place = document.getElementById('time'), r = place.getBoundingClientRect();
    const watch = new PerformanceObserver(list => tasks.push(...list.getEntries().map(e => e.duration)));
    watch.observe({type: 'longtask'});
    let last = await new Promise(requestAnimationFrame);
    for (const [steps, across, down] of [[60, 0, -60], [60, 60, 0], [80, 0, 60]]) for (let i = 0; i < steps; i++) {
        place.dispatchEvent(new WheelEvent('wheel', {deltaX: across, deltaY: down, clientX: r.left + r.width * .6,
            clientY: r.top + 99, bubbles: true, cancelable: true}));
        await new Promise(requestAnimationFrame);
        frames.push(performance.now() - last); last = performance.now();
    }
    await new Promise(done => setTimeout(done, 200));
    frames.sort((a, b) => a - b);
    return [frames[frames.length >> 1], frames[frames.length - 1], tasks.length, Math.max(0, ...tasks)];
})()";

fn main() {
    let Some(mut browser) = Browser::open() else { return };
    let (name, text) = plan::BUILT_IN[0];
    let source = Source::from_sheet("h200-sxm", sheet("h200-sxm").unwrap());
    let overrides = Overrides { microbatches: Some(Microbatches::Exactly(64)), ..Overrides::default() };
    let e = evaluate(Plan::parse(name, text).unwrap(), &source, &overrides).unwrap();
    let page = report::html(std::slice::from_ref(&e), &source).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    std::fs::write(&file, &page).unwrap();
    println!("{name} in 64 micro-batches: {} ops, a page of {} bytes", e.dag.len(), page.len());
    for width in [1440, 390] {
        browser.visit(&file, [width, 900]);
        let found = browser.value(JOURNEY);
        let [median, longest, tasks, task] = [0, 1, 2, 3].map(|i| found[i].as_f64().unwrap());
        println!(
            "{width:>5} px: 200 frames, median {median:.0} ms, longest {longest:.0} ms; {tasks} tasks above 50 ms, \
             longest {task:.0} ms"
        );
    }
}
