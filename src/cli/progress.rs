//! A bar with an estimate of the time left, on a terminal only.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cost::{Basis, Estimate};
use crate::measure::campaign::Progress;
use crate::refine::Round;
use crate::report;

/// A progress bar on stderr. Where stderr is no terminal nothing is drawn.
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// An empty bar.
    pub fn start() -> Self {
        let bar = ProgressBar::new(0);
        let template = "{prefix:<9} [{bar:30}] {pos}/{len}  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Bar { bar }
    }

    /// Draws where the campaign stands.
    pub fn show(&mut self, progress: &Progress<'_>) {
        self.bar.set_length(progress.total as u64);
        self.bar.set_position(progress.done as u64);
        self.bar.set_prefix(format!("pass {}", progress.pass));
        let left = clock(progress.left);
        let latest = progress.record.map_or(String::new(), |record| {
            let summary = &record.summary;
            let (low, high) = summary.interval.unwrap_or((summary.seconds, summary.seconds));
            let estimate = Estimate { seconds: summary.seconds, low, high, basis: Basis::Measured };
            format!("{}  {}", progress.op, report::with_error(&estimate))
        });
        self.bar.set_message(format!("{left} left  {latest}"));
    }

    /// Says how far off the table still is: error against time.
    pub fn tell(&self, round: &Round) {
        let Round { shapes, tried, median, p95, elapsed, .. } = round;
        let seconds = elapsed.as_secs_f64();
        self.bar.suspend(|| match tried {
            0 => eprintln!("{shapes:>6} products {seconds:>7.1} s"),
            _ => eprintln!(
                "{shapes:>6} products {seconds:>7.1} s   {median:.1} % median, {p95:.1} % p95 of {tried} that were not \
                 seen, of plans' sizes"
            ),
        });
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// `4:10`.
fn clock(left: Duration) -> String {
    let seconds = left.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
