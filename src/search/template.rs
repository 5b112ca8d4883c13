//! A model to search layouts for: a plan file without its layout.

use toml::{Table, Value};

use super::Degrees;
use crate::dtype::Dtype;
use crate::plan::{Mlp, Plan};
use crate::spec::{AttentionMode, SpecError};

/// A model, with what its file says besides: the phase, how it is trained, how attention runs.
#[derive(Clone, Debug)]
pub struct Template {
    /// The name on screens.
    pub name: String,
    table: Table,
    /// The model on one GPU, or the plan that the file describes.
    plan: Plan,
}

/// Where there is no cluster: one GPU.
const ONE_GPU: &str = "\n[cluster]\ngpus = 1\n";

impl Template {
    /// Reads a plan file, of which the layout is left aside; `name`, `[cluster]` and `[parallel]` may be missing.
    ///
    /// # Errors
    /// When it is no plan file: with the line and what would do.
    pub fn parse(file: &str, text: &str) -> Result<Template, SpecError> {
        let mut whole = text.to_owned();
        let table: Table = toml::from_str(text)
            .map_err(|error| SpecError::at(file, text, error.span().unwrap_or(0..0), error.message()))?;
        if !table.contains_key("cluster") {
            whole += ONE_GPU;
        }
        let stem = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".toml");
        let named = table.contains_key("name");
        if !named {
            whole.insert_str(0, &format!("name = {}\n", Value::from(stem)));
        }
        let plan = Plan::parse(file, &whole).map_err(|error| SpecError {
            line: error.line.saturating_sub(usize::from(!named)).max(1),
            ..error
        })?;
        Ok(Template { name: plan.name.clone(), table, plan })
    }

    /// The same with what a command line says instead of the file's own words.
    #[must_use]
    pub fn under(mut self, dtype: Option<Dtype>, attention: Option<AttentionMode>) -> Template {
        if let Some(attention) = attention {
            let name = match attention {
                AttentionMode::Fused => "fused",
                AttentionMode::Unfused => "unfused",
            };
            self.table.insert("attention".to_owned(), name.into());
            self.plan.attention = attention;
        }
        if let (Some(dtype), Some(Value::Table(model))) = (dtype, self.table.get_mut("model")) {
            model.insert("dtype".to_owned(), dtype.name().into());
            self.plan.model.dtype = Some(dtype);
        }
        self
    }

    /// The model, in whatever layout.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether there are experts to spread.
    pub const fn has_experts(&self) -> bool {
        matches!(self.plan.model.mlp, Mlp::Moe { .. })
    }

    /// The plan file of a layout.
    ///
    /// Communication has no stream of its own in it, whatever the file says: so layers that are alike add up.
    pub fn text(&self, gpus: u64, degrees: &Degrees) -> String {
        let Degrees { tensor, pipeline, data, expert, .. } = *degrees;
        let mut table = self.table.clone();
        table.remove("overlap");
        let mut name = format!("{}-tp{tensor}-pp{pipeline}-dp{data}", self.name);
        if self.has_experts() {
            name += &format!("-ep{expert}");
        }
        table.insert("name".to_owned(), name.into());
        table.insert("title".to_owned(), format!("{} on {gpus} GPUs, found by a search", self.name).into());
        table.insert("microbatches".to_owned(), count(degrees.microbatches));
        table.insert("schedule".to_owned(), degrees.schedule.to_string().into());
        let mut cluster = Table::from_iter([("gpus".to_owned(), count(gpus))]);
        if let Some(per_node) = self.plan.gpus_per_node {
            cluster.insert("gpus_per_node".to_owned(), count(per_node));
        }
        table.insert("cluster".to_owned(), cluster.into());
        let mut parallel = Table::from_iter(
            [("tensor", tensor), ("pipeline", pipeline), ("data", data)]
                .map(|(key, degree)| (key.to_owned(), count(degree))),
        );
        if self.has_experts() {
            parallel.insert("expert".to_owned(), count(expert));
        }
        if degrees.sequence_parallel {
            parallel.insert("sequence_parallel".to_owned(), true.into());
        }
        table.insert("parallel".to_owned(), parallel.into());
        table.to_string()
    }
}

fn count(n: u64) -> Value {
    Value::from(i64::try_from(n).unwrap_or(i64::MAX))
}
