//! What would change a plan's runtime, and which of its ops could take longer.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{WIDTH, clip, percent, three_seconds, with_error, wrapped};
use crate::evaluate::Evaluation;
use crate::units::{grouped, three_digits};
use crate::whatif::{Lever, Outlook};

/// Less than this share of the makespan is what rounding leaves over, and no slack.
const ROUNDING: f64 = 1e-9;

/// Columns of a line's title.
const TITLE: usize = 17;

/// Slack in one line, what 1 % of each lever brings, the next bottleneck, and the lower bound.
pub(super) fn write_outlook(out: &mut String, e: &Evaluation, outlook: &Outlook) -> std::fmt::Result {
    let makespan = e.timeline.schedule.makespan;
    let free = outlook.slack.iter().copied().filter(|seconds| *seconds > ROUNDING * makespan);
    let critical = outlook.slack.len() - free.clone().count();
    let [critical, all] = [critical, outlook.slack.len()].map(|n| grouped(n as u128));
    write!(out, "slack            none for {critical} of {all} ops")?;
    match free.reduce(f64::min) {
        None => writeln!(out)?,
        Some(least) => writeln!(out, "; the others can take {} longer at least", three_seconds(least))?,
    }
    let mut levers = Lever::ALL;
    let gain = |lever: &Lever| outlook.per_percent[*lever as usize];
    levers.sort_by(|a, b| gain(b).total_cmp(&gain(a)));
    let gains: Vec<String> = (levers.iter().filter(|lever| gain(lever) > ROUNDING * makespan))
        .map(|lever| format!("{} −{}", lever.name(), three_seconds(gain(lever))))
        .collect();
    if !gains.is_empty() {
        let under = " ".repeat(TITLE);
        let lines = textwrap::Options::new(WIDTH - TITLE).subsequent_indent(&under);
        writeln!(out, "{:<TITLE$}{}", "if 1 % faster", textwrap::fill(&gains.join(" · "), lines))?;
    }
    if let Some(next) = outlook.takeover {
        let (from, to, speedup) = (next.from.name(), next.to.name(), three_digits(next.speedup));
        writeln!(out, "next bottleneck  {to}, once {from} take 1/{speedup} of their time")?;
    }
    if let Some(ideal) = &outlook.ideal {
        let share = percent(ideal.seconds.get(), makespan);
        let (ideal, share) = (with_error(ideal), share.trim());
        let text = format!(
            "ideal            {ideal}, {share} of the runtime: every GPU busy all the time, nothing sent"
        );
        writeln!(out, "{}", wrapped(&text, ""))?;
    }
    Ok(())
}

/// The slack of the ops of each role.
pub(super) fn write_slack(out: &mut String, e: &Evaluation, outlook: &Outlook) -> std::fmt::Result {
    // number, critical ones, least and most
    let mut roles: BTreeMap<&str, (usize, usize, f64, f64)> = BTreeMap::new();
    let least = ROUNDING * e.timeline.schedule.makespan;
    for (node, slack) in e.dag.nodes().zip(&outlook.slack) {
        let (count, critical, low, high) =
            roles.entry(e.dag.role_of(node)).or_insert((0, 0, f64::INFINITY, 0.0));
        *count += 1;
        *critical += usize::from(*slack <= least);
        (*low, *high) = (low.min(*slack), high.max(*slack));
    }
    writeln!(out, "\n  {:<28}{:>12}{:>16}{:>16}{:>16}", "slack", "ops", "without any", "least", "most")?;
    for (role, (count, critical, low, high)) in roles {
        let seconds =
            |seconds: f64| if seconds <= least { "none".to_owned() } else { three_seconds(seconds) };
        let [count, critical] = [count, critical].map(|n| grouped(n as u128));
        let role = clip(role, 27);
        writeln!(out, "  {role:<28}{count:>12}{critical:>16}{:>16}{:>16}", seconds(low), seconds(high))?;
    }
    Ok(())
}
