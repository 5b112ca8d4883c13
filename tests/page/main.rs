//! The page of all plans: what it holds, and how it behaves in a browser.

mod browser;

use std::io::Write as _;

use browser::Browser;
use gettime::evaluate::{Evaluation, Overrides, evaluate};
use gettime::plan::{self, Plan};
use gettime::report;
use gettime::source::{Source, sheet};
use gettime::spec::Microbatches;
use serde_json::Value;
use tempfile::NamedTempFile;

fn source() -> Source {
    Source::from_sheet("h200-sxm", sheet("h200-sxm").unwrap())
}

fn evaluated(name: &str, microbatches: u64) -> Evaluation {
    let (_, text) = plan::BUILT_IN.iter().find(|(n, _)| *n == name).unwrap();
    let microbatches = Some(Microbatches::Exactly(microbatches));
    let overrides = Overrides { microbatches, ..Overrides::default() };
    evaluate(Plan::parse(name, text).unwrap(), &source(), &overrides).unwrap()
}

fn page_of_all() -> String {
    let all: Vec<Evaluation> = plan::BUILT_IN.iter().map(|(name, _)| evaluated(name, 1)).collect();
    report::html(&all, &source()).unwrap()
}

fn data(page: &str) -> Value {
    let start = page.find("id=\"data\">").unwrap() + "id=\"data\">".len();
    serde_json::from_str(&page[start..start + page[start..].find("</script>").unwrap()]).unwrap()
}

fn on_disk(page: &str) -> NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".html").tempfile().unwrap();
    file.write_all(page.as_bytes()).unwrap();
    file
}

/// Numbers of fills in the canvas of an element, the background left out.
const COLOURS: &str = "id => { const c = document.querySelector('#' + id + ' canvas'), seen = new Set();
    const {data} = c.getContext('2d').getImageData(0, 0, c.width, c.height);
    for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) seen.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
    return seen.size; }";

/// The middle of an op on the screen, scrolled into view.
const PLACE: &str = "(name, layer, gpu) => { const t = timeline, o = t.ops; t.place.scrollIntoView({block: 'center'});
    const n = [...o.rows[gpu]].find(n => o.names[o.name[n]] === name && o.layer[n] === layer + 1);
    const r = t.plot.over.getBoundingClientRect(), {min, max} = t.plot.scales.x;
    return [r.left + ((o.start[n] + o.end[n]) / 2 - min) / (max - min) * r.width, r.top + (gpu + .5) / t.plan.gpus * r.height]; }";

const FRAME: &str = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))";

fn facts(browser: &mut Browser) -> String {
    browser.value("document.getElementById('facts').innerText").as_str().unwrap().to_owned()
}

fn point(value: &Value) -> [f64; 2] {
    [0, 1].map(|i| value[i].as_f64().unwrap())
}

#[test]
fn the_page_holds_all_plans_and_needs_nothing_else() {
    let page = page_of_all();
    assert!(page.len() < 2_000_000, "{}", page.len());
    for outside in ["src=", "href=", "url(", "@import", "import("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(page, page_of_all());
    let data = data(&page);
    let plans = data["plans"].as_array().unwrap();
    let ops: u64 = plans.iter().map(|plan| plan["ops"]["count"].as_u64().unwrap()).sum();
    // the nodes of the seven graphs, as their definitions count them
    assert_eq!((plans.len(), ops), (7, 1586 + 224 + 410 + 678 + 214 + 1034 + 642));
    for pair in plans.windows(2).filter(|pair| pair[0]["model"] == pair[1]["model"]) {
        // of each model the fastest first; a data sheet has no error bars, so one is surely faster
        assert!(pair[0]["makespan"][0].as_f64() < pair[1]["makespan"][0].as_f64());
        assert!(pair[0]["rank"].as_u64() < pair[1]["rank"].as_u64());
    }
}

#[test]
fn a_page_of_a_hundred_thousand_ops_is_below_two_megabytes() {
    let page = report::html(&[evaluated("tp8-pp2", 64)], &source()).unwrap();
    assert!(page.len() < 2_000_000, "{}", page.len());
    // 64 times 16 layers of 8 GPUs' 12 nodes and 2 collectives, 8 sends, 8 arrivals; the input and the output
    let ops = data(&page)["plans"][0]["ops"]["count"].as_u64().unwrap();
    assert_eq!(ops, 64 * (16 * (12 * 8 + 2) + 16 + 2));
}

#[test]
fn the_page_is_drawn_and_answers_at_both_widths() {
    let Some(mut browser) = Browser::open() else { return };
    let file = on_disk(&page_of_all());
    for width in [1440, 390] {
        browser.visit(file.path(), [width, 900]);
        let plans = browser.value("data.plans.length").as_u64().unwrap();
        assert_eq!(plans, 7);
        for i in 0..plans {
            browser.value(&format!("document.querySelectorAll('#plans button')[{i}].click()"));
            browser.value(FRAME);
            // at least products, memory-bound ops, and the mark of the critical path
            for (id, least) in [("time", 4), ("roofline", 2), ("memory", 2)] {
                let colours = browser.value(&format!("({COLOURS})('{id}')")).as_u64().unwrap();
                assert!(colours >= least, "plan {i}: {id} at {width}: {colours}");
            }
            let rows = browser.value("document.querySelectorAll('#path tr').length").as_u64().unwrap();
            assert!(rows > 10, "plan {i}: {rows}");
        }
        // tables scroll within themselves, never the page
        assert_eq!(browser.value("document.documentElement.scrollWidth <= innerWidth"), true, "{width}");
        assert_eq!(browser.value("performance.getEntriesByType('resource').length"), 0);
        assert!(browser.complaints.is_empty(), "{width}: {:?}", browser.complaints);
    }
}

#[test]
fn a_click_or_a_key_shows_the_facts_of_an_op() {
    let Some(mut browser) = Browser::open() else { return };
    let e = evaluated("tp8-pp2", 1);
    let file = on_disk(&report::html(&[e], &source()).unwrap());
    for width in [1440, 390] {
        browser.visit(file.path(), [width, 900]);
        let place = browser.value(&format!("({PLACE})('mlp_up', 3, 5)"));
        browser.click(point(&place));
        let text = facts(&mut browser);
        // 2 × 10,240,000 × 8192 × 4096 FLOP at 989e12 FLOP/s
        for fact in ["mlp_up of layer 3", "gemm bf16 10240000×8192×4096", "on GPU 5", "695 ms", "modelled"]
        {
            assert!(text.contains(fact), "{width}: no \"{fact}\" in {text}");
        }
        browser.value("document.getElementById('time').focus()");
        // from an op beside the path to the path's first, and on to its second
        browser.key("n");
        assert!(facts(&mut browser).contains("ln1 of layer 0"), "{}", facts(&mut browser));
        browser.key("n");
        let text = facts(&mut browser);
        assert!(text.contains("qkv of layer 0") && text.contains("on the critical path"), "{text}");
        browser.value("document.getElementById('each').open = true");
        browser.value(FRAME);
        let rows = browser.value("document.querySelectorAll('#steps tr').length").as_u64().unwrap();
        assert_eq!(rows, 200, "a screenful of the path's 225 ops");
        assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    }
}

#[test]
fn a_hundred_thousand_ops_zoom_and_pan() {
    let Some(mut browser) = Browser::open() else { return };
    let file = on_disk(&report::html(&[evaluated("tp8-pp2", 64)], &source()).unwrap());
    browser.visit(file.path(), [1440, 900]);
    let view = "[timeline.plot.scales.x.min, timeline.plot.scales.x.max]";
    let whole = point(&browser.value(view));
    browser.value(&format!("({PLACE})('qkv', 0, 0)"));
    for _ in 0..10 {
        browser.wheel([700.0, 450.0], [0.0, -200.0]);
    }
    browser.value(FRAME);
    let near = point(&browser.value(view));
    // ten turns of e^(1/2)
    let factor = (whole[1] - whole[0]) / (near[1] - near[0]);
    assert!((factor / 5f64.exp() - 1.0).abs() < 1e-6, "{factor}");
    browser.wheel([700.0, 450.0], [200.0, 0.0]);
    browser.value(FRAME);
    let moved = point(&browser.value(view));
    let part = (moved[0] - near[0]) / (near[1] - near[0]);
    assert!((part - 0.25).abs() < 1e-6, "{part}");
    let place = browser.value(&format!(
        "(() => {{ const o = timeline.ops, [a, b] = {view}; const n = timeline.at(3, (a + b) / 2);
            return [o.names[o.name[n]], o.piece[n]]; }})()"
    ));
    let middle = "(() => { const r = timeline.plot.over.getBoundingClientRect();
            return [r.left + r.width / 2, r.top + 3.5 / 16 * r.height]; })()";
    let middle = point(&browser.value(middle));
    browser.click(middle);
    let expected = [place[0].as_str().unwrap().to_owned(), format!("micro-batch {}", place[1])];
    let text = facts(&mut browser);
    assert!(expected.iter().all(|fact| text.contains(fact)), "{expected:?} {text}");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}
