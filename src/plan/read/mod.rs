//! From a plan file to a checked plan. Every refusal has the line, and says what would do.

mod layout;
mod model;

use std::ops::Range;

use toml::Spanned;

pub(super) use layout::interleaved;

use super::Plan;
use crate::spec::{self, Count, Phase, PlanSpec, Schedule, SpecError};

/// Widths, batches and lengths beyond this would overflow the count of rows of a softmax.
const LARGEST: u64 = 1 << 20;

/// Reads and checks a plan file.
pub(super) fn plan(file: &str, text: &str) -> Result<Plan, SpecError> {
    of_spec(file, text, spec::parse(file, text)?)
}

/// Checks a plan; `text` is what its places refer to.
pub(super) fn of_spec(file: &str, text: &str, spec: PlanSpec) -> Result<Plan, SpecError> {
    let check = Check { file, text };
    let phase = spec.phase.as_ref().map_or(Phase::default(), |phase| *phase.get_ref());
    let model = check.model(&spec.model, phase)?;
    let gpus = check.positive(&spec.cluster.gpus, "gpus")?;
    let layout = match (&spec.parallel.attention_gpus, &spec.parallel.moe_gpus) {
        (None, None) => check.pipeline(&spec, &model, gpus)?,
        (Some(attention), Some(moe)) => check.separated(&spec, &model, phase, attention, moe)?,
        (Some(one), None) | (None, Some(one)) => {
            return check.refuse(one, "attention_gpus and moe_gpus come together: give both".to_owned());
        }
    };
    let gpus_per_node = (spec.cluster.gpus_per_node.as_ref())
        .map(|count| check.positive(count, "gpus_per_node"))
        .transpose()?;
    let hottest = check.hottest(&spec.model)?;
    let train = match (phase, &spec.train) {
        (Phase::Train, train) => Some(train.as_ref().map(|train| *train.get_ref()).unwrap_or_default()),
        (_, None) => None,
        (_, Some(train)) => {
            let message = "[train] is for training: set phase = \"train\", or take the table out";
            return check.refuse_at(train.span(), message.to_owned());
        }
    };
    Ok(Plan {
        title: spec.title.unwrap_or_else(|| spec.name.clone()),
        name: spec.name,
        model,
        layout,
        microbatches: spec.microbatches,
        attention: spec.attention,
        phase,
        schedule: spec.schedule.map_or(Schedule::default(), Spanned::into_inner),
        overlap: spec.overlap,
        train,
        hottest,
        gpus,
        gpus_per_node,
    })
}

struct Check<'a> {
    file: &'a str,
    text: &'a str,
}

impl Check<'_> {
    fn refuse<T>(&self, place: &Count, message: String) -> Result<T, SpecError> {
        self.refuse_at(place.span(), message)
    }

    fn refuse_at<T>(&self, place: Range<usize>, message: String) -> Result<T, SpecError> {
        Err(SpecError::at(self.file, self.text, place, message))
    }

    fn positive(&self, count: &Count, name: &str) -> Result<u64, SpecError> {
        match *count.get_ref() {
            0 => self.refuse(count, format!("{name} must be at least 1")),
            n if n > LARGEST => self.refuse(count, format!("{name} = {n} is beyond 1,048,576")),
            n => Ok(n),
        }
    }

    /// `parts` must divide the number at `whole`.
    fn split(&self, whole: &Count, name: &str, parts: u64, by: &str) -> Result<u64, SpecError> {
        let n = *whole.get_ref();
        if n.is_multiple_of(parts) {
            return Ok(n / parts);
        }
        let share = n as f64 / parts as f64;
        let divisors: Vec<String> =
            (1..=n.min(1024)).filter(|d| n.is_multiple_of(*d)).map(|d| d.to_string()).collect();
        let message = format!(
            "{name} = {n} cannot be split over {by} = {parts}\n  {parts} × {share:.3}: use {by} {}",
            divisors.join(", ")
        );
        self.refuse(whole, message)
    }
}
