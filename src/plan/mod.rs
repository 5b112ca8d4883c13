//! Deployment plans: a model, a layout over GPUs, and the graph that they make.
//!
//! A plan is described once, as the steps of a layer (layer.rs). The graph's nodes and edges, the memory and
//! the weights all come from that one description. Nothing here knows how long an op takes.

mod attention;
mod backward;
mod builder;
mod describe;
mod experts;
mod latent;
mod layer;
mod layout;
mod lower;
mod memory;
mod model;
mod order;
mod passage;
mod pipeline;
mod prepared;
mod read;
mod recompute;
mod role;
mod run;
mod separated;
mod step;
mod team;
mod tensor;
mod transfer;
mod update;
mod vocabulary;
mod writers;

pub use describe::describe;
pub use layout::{Layout, Pipeline, Separated};
pub use lower::{lower, lower_folded, lower_within};
pub use memory::{Footprint, footprints, fullest, max_sequences};
pub use model::{Mla, Mlp, Model};

use crate::dtype::Dtype;
use crate::spec::{
    AttentionMode, Microbatches, Overlap, Phase, PlanSpec, Recompute, Schedule, SpecError, TrainSpec,
};

/// The plans that are compiled in, in the order of the documents they come from.
pub const BUILT_IN: [(&str, &str); 7] = [
    ("tp8-pp2", include_str!("../../plans/tp8-pp2.toml")),
    ("layerwise", include_str!("../../plans/layerwise.toml")),
    ("tp8-pp2-dense4", include_str!("../../plans/tp8-pp2-dense4.toml")),
    ("ma-separation", include_str!("../../plans/ma-separation.toml")),
    ("helix", include_str!("../../plans/helix.toml")),
    ("ep16", include_str!("../../plans/ep16.toml")),
    ("moe-tp8-pp2", include_str!("../../plans/moe-tp8-pp2.toml")),
];

/// Example plans of public models that are compiled in, by name as the built-in ones.
pub const PUBLIC: [(&str, &str); 6] = [
    ("llama-3-70b-train", include_str!("../../plans/public/llama-3-70b-train.toml")),
    ("llama-3-70b-decode", include_str!("../../plans/public/llama-3-70b-decode.toml")),
    ("llama-3.1-405b-train", include_str!("../../plans/public/llama-3.1-405b-train.toml")),
    ("llama-3.1-405b-decode", include_str!("../../plans/public/llama-3.1-405b-decode.toml")),
    ("deepseek-v3-train", include_str!("../../plans/public/deepseek-v3-train.toml")),
    ("deepseek-v3-decode", include_str!("../../plans/public/deepseek-v3-decode.toml")),
];

/// A checked plan: every split is whole, every GPU has its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The name on the command line and in reports.
    pub name: String,
    /// One line that says what it is.
    pub title: String,
    /// What is computed.
    pub model: Model,
    /// Where it is computed.
    pub layout: Layout,
    /// In how many pieces the batch is cut.
    pub microbatches: Microbatches,
    /// Whether the scores of attention are stored.
    pub attention: AttentionMode,
    /// What is computed of the model.
    pub phase: Phase,
    /// The order of micro-batches in a pipeline.
    pub schedule: Schedule,
    /// What communication has a stream of its own beside the products.
    pub overlap: Overlap,
    /// How it is trained, in that phase.
    pub train: Option<TrainSpec>,
    /// The share of the routed tokens that goes to the most wanted expert, where it is not that of the others.
    pub hottest: Option<f64>,
    /// GPUs in all.
    pub gpus: u64,
    /// GPUs per node, where neither table nor sheet says it.
    pub gpus_per_node: Option<u64>,
}

impl Plan {
    /// Reads and checks a plan file.
    ///
    /// # Errors
    /// When it is no valid TOML, or a size cannot be split as the layout says: with the line and what would do.
    pub fn parse(file: &str, text: &str) -> Result<Plan, SpecError> {
        read::plan(file, text)
    }

    /// Checks a plan that was not read from a file.
    ///
    /// # Errors
    /// As [`Plan::parse`], with line 1 for every place.
    pub fn of_spec(spec: PlanSpec) -> Result<Plan, SpecError> {
        let name = spec.name.clone();
        read::of_spec(&name, "", spec)
    }

    /// The plan under another schedule.
    ///
    /// # Errors
    /// When its layers cannot be dealt out so; says what would do.
    pub fn with_schedule(mut self, schedule: Schedule) -> Result<Plan, String> {
        match &mut self.layout {
            Layout::Pipeline(layout) => {
                layout.parts = read::interleaved(self.model.layers, layout.pipeline, schedule)?;
            }
            Layout::Separated(_) => return Err("a plan without stages has no schedule".to_owned()),
        }
        self.schedule = schedule;
        Ok(self)
    }

    /// The element type that the file asks for.
    pub const fn dtype(&self) -> Option<Dtype> {
        self.model.dtype
    }

    /// The same model, undivided, on a single GPU that computes nothing twice.
    pub fn on_one_gpu(&self, choice: &Choice) -> (Plan, Choice) {
        let all = Pipeline {
            parts: layout::deal(self.model.layers, 1),
            pipeline: 1,
            tensor: 1,
            data: 1,
            expert: 1,
            sequence_parallel: false,
            scatter_sends: false,
        };
        let plan = Plan {
            layout: Layout::Pipeline(all),
            gpus: 1,
            schedule: Schedule::default(),
            overlap: Overlap::None,
            train: self.train.map(|train| TrainSpec { recompute: Recompute::None, ..train }),
            hottest: None,
            ..self.clone()
        };
        (plan, Choice { microbatches: 1, ..*choice })
    }

    /// Micro-batches come in rounds of this many: the stages, where training interleaves parts of them.
    pub const fn rounds(&self) -> u64 {
        match (&self.layout, self.schedule, &self.train) {
            (Layout::Pipeline(layout), Schedule::Interleaved(_), Some(_)) => layout.pipeline,
            _ => 1,
        }
    }

    /// What to do where so many micro-batches are no whole rounds; `None` where they are.
    pub fn unfit(&self, microbatches: u64) -> Option<String> {
        let rounds = self.rounds();
        if microbatches.is_multiple_of(rounds) {
            return None;
        }
        let next = microbatches.next_multiple_of(rounds);
        Some(match next <= self.most_microbatches() {
            true => format!("--microbatches {next}, or --schedule 1f1b"),
            false => "--schedule 1f1b".to_owned(),
        })
    }

    /// The most pieces that the batch can be cut into: one sequence each on every replica.
    pub fn most_microbatches(&self) -> u64 {
        self.model.batch / self.layout.replicas()
    }
}

/// What is chosen when a plan is lowered: the file's own values, unless the command line says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Element type of every tensor.
    pub dtype: Dtype,
    /// GPUs on one node.
    pub gpus_per_node: u64,
    /// In how many pieces the batch is cut, at least 1 and at most [`Plan::most_microbatches`].
    pub microbatches: u64,
    /// Whether the scores of attention are stored.
    pub attention: AttentionMode,
}
