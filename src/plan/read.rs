//! From a plan file to a checked plan. Every refusal has the line, and says what would do.

use std::ops::Range;

use super::Plan;
use super::layout::{Layout, Pipeline, Separated};
use super::model::{Mlp, Model};
use crate::spec::{self, Count, ModelSpec, MoeSpec, ParallelSpec, PlanSpec, SpecError};

/// Widths, batches and lengths beyond this would overflow the count of rows of a softmax.
const LARGEST: u64 = 1 << 20;

/// Reads and checks a plan file.
pub(super) fn plan(file: &str, text: &str) -> Result<Plan, SpecError> {
    let spec: PlanSpec = spec::parse(file, text)?;
    let check = Check { file, text };
    let model = check.model(&spec.model)?;
    let gpus = check.positive(&spec.cluster.gpus, "gpus")?;
    let layout = match (&spec.parallel.attention_gpus, &spec.parallel.moe_gpus) {
        (None, None) => check.pipeline(&spec, &model, gpus)?,
        (Some(attention), Some(moe)) => check.separated(&spec, &model, attention, moe)?,
        (Some(one), None) | (None, Some(one)) => {
            return check.refuse(one, "attention_gpus and moe_gpus come together: give both".to_owned());
        }
    };
    let gpus_per_node = (spec.cluster.gpus_per_node.as_ref())
        .map(|count| check.positive(count, "gpus_per_node"))
        .transpose()?;
    Ok(Plan {
        title: spec.title.unwrap_or_else(|| spec.name.clone()),
        name: spec.name,
        model,
        layout,
        microbatches: spec.microbatches,
        attention: spec.attention,
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
        Err(SpecError::at(self.file, self.text, place.span(), message))
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

    fn model(&self, spec: &ModelSpec) -> Result<Model, SpecError> {
        let heads = self.positive(&spec.heads, "heads")?;
        let hidden = self.positive(&spec.hidden, "hidden")?;
        let kv_heads = match &spec.kv_heads {
            None => heads,
            Some(count) => {
                let kv_heads = self.positive(count, "kv_heads")?;
                self.split(&spec.heads, "heads", kv_heads, "kv_heads")?;
                kv_heads
            }
        };
        let head_dim = match &spec.head_dim {
            None => self.split(&spec.hidden, "hidden", heads, "heads")?,
            Some(count) => self.positive(count, "head_dim")?,
        };
        let mlp = match (&spec.ffn, &spec.moe) {
            (Some(ffn), None) => Mlp::Dense { ffn: self.positive(ffn, "ffn")? },
            (None, Some(moe)) => self.experts(moe)?,
            (Some(ffn), Some(_)) => {
                let message = "ffn and [model.moe] exclude each other: keep one";
                return self.refuse(ffn, message.to_owned());
            }
            (None, None) => {
                let message = "the model has no MLP: give ffn, or a table [model.moe]";
                return self.refuse(&spec.hidden, message.to_owned());
            }
        };
        let layers = self.positive(&spec.layers, "layers")?;
        if layers >= u64::from(u16::MAX) {
            return self.refuse(&spec.layers, format!("layers = {layers} is beyond 65,534"));
        }
        let batch = self.positive(&spec.batch, "batch")?;
        let sequence = self.positive(&spec.sequence, "sequence")?;
        if let Mlp::Moe { top_k, .. } = mlp {
            // in the widest type, what goes to the experts must be counted in 64 bits
            let routed = [batch, sequence, top_k, hidden].map(u128::from).iter().product::<u128>();
            if routed >= 1 << 62 {
                let message = "batch × sequence × top_k × hidden is beyond 2^62: choose a smaller batch";
                return self.refuse(&spec.batch, message.to_owned());
            }
        }
        Ok(Model {
            layers,
            hidden,
            heads,
            kv_heads,
            head_dim,
            qkv: spec.qkv,
            mlp,
            gated: spec.gated,
            batch,
            sequence,
            dtype: spec.dtype,
        })
    }

    fn experts(&self, moe: &MoeSpec) -> Result<Mlp, SpecError> {
        let experts = self.positive(&moe.experts, "experts")?;
        let top_k = self.positive(&moe.top_k, "top_k")?;
        if top_k > experts {
            let message = format!("top_k = {top_k} is more than the {experts} experts there are");
            return self.refuse(&moe.top_k, message);
        }
        Ok(Mlp::Moe { experts, top_k, ffn: self.positive(&moe.ffn, "ffn")? })
    }

    fn pipeline(&self, spec: &PlanSpec, model: &Model, gpus: u64) -> Result<Layout, SpecError> {
        let parallel = &spec.parallel;
        let degree =
            |count: &Option<Count>, name| count.as_ref().map_or(Ok(1), |count| self.positive(count, name));
        let tensor = degree(&parallel.tensor, "tensor")?;
        let pipeline = degree(&parallel.pipeline, "pipeline")?;
        let data = degree(&parallel.data, "data")?;
        let needs = u128::from(tensor) * u128::from(pipeline) * u128::from(data);
        if needs != u128::from(gpus) {
            let message = format!(
                "tensor {tensor} × pipeline {pipeline} × data {data} = {needs} GPUs, but gpus = {gpus}"
            );
            return self.refuse(&spec.cluster.gpus, message);
        }
        self.split(&spec.model.heads, "heads", tensor, "tensor")?;
        if let Some(kv_heads) = &spec.model.kv_heads {
            self.split(kv_heads, "kv_heads", tensor, "tensor")?;
        }
        self.split(&spec.model.batch, "batch", data, "data")?;
        if pipeline > model.layers {
            let message = format!("{} layers cannot fill {pipeline} stages", model.layers);
            return self.refuse(&spec.model.layers, message);
        }
        let expert = match (&spec.model.moe, &spec.model.ffn) {
            (Some(moe), _) => self.expert_degree(parallel, moe, tensor, data)?,
            (None, Some(ffn)) => {
                self.split(ffn, "ffn", tensor, "tensor")?;
                if let Some(expert) = &parallel.expert {
                    let message = "the model has no experts to spread: take `expert` out";
                    return self.refuse(expert, message.to_owned());
                }
                1
            }
            (None, None) => 1,
        };
        Ok(Layout::Pipeline(Pipeline {
            stages: stages(model.layers, pipeline),
            tensor,
            data,
            expert,
            sequence_parallel: parallel.sequence_parallel && tensor > 1,
        }))
    }

    fn expert_degree(
        &self,
        parallel: &ParallelSpec,
        moe: &MoeSpec,
        tensor: u64,
        data: u64,
    ) -> Result<u64, SpecError> {
        if let (Some(tensor), false) = (&parallel.tensor, parallel.sequence_parallel)
            && *tensor.get_ref() > 1
        {
            let message = "experts beside tensor parallelism need the tokens split, so that no gate works \
                           twice: set sequence_parallel = true";
            return self.refuse(tensor, message.to_owned());
        }
        let stage = tensor * data;
        let expert = match &parallel.expert {
            None => stage,
            Some(count) => {
                let expert = self.positive(count, "expert")?;
                if !stage.is_multiple_of(expert) {
                    let message = format!(
                        "expert = {expert} does not divide the {stage} GPUs of a stage (tensor × data)"
                    );
                    return self.refuse(count, message);
                }
                expert
            }
        };
        self.split(&moe.experts, "experts", expert, "expert")?;
        Ok(expert)
    }

    fn separated(
        &self,
        spec: &PlanSpec,
        model: &Model,
        attention: &Count,
        moe: &Count,
    ) -> Result<Layout, SpecError> {
        let parallel = &spec.parallel;
        let others = [&parallel.tensor, &parallel.pipeline, &parallel.data, &parallel.expert];
        if let Some(other) = others.into_iter().flatten().next() {
            let message = "attention_gpus and moe_gpus are the whole layout: take tensor, pipeline, data and \
                 expert out";
            return self.refuse(other, message.to_owned());
        }
        let layout = Separated {
            attention: self.positive(attention, "attention_gpus")?,
            moe: self.positive(moe, "moe_gpus")?,
        };
        let gpus = *spec.cluster.gpus.get_ref();
        if layout.attention + layout.moe != gpus {
            let message = format!(
                "attention_gpus {} + moe_gpus {} are not the {gpus} gpus of the cluster",
                layout.attention, layout.moe
            );
            return self.refuse(&spec.cluster.gpus, message);
        }
        if layout.attention > model.heads {
            let message = format!("{} heads cannot fill attention_gpus", model.heads);
            return self.refuse(attention, message);
        }
        if layout.moe > layout.attention {
            let message = "every expert GPU takes its tokens from an attention GPU of its own: moe_gpus can \
                           be at most attention_gpus";
            return self.refuse(moe, message.to_owned());
        }
        if model.kv_heads != model.heads {
            let message = "attention_gpus deals out whole heads: kv_heads must equal heads here";
            return self.refuse(attention, message.to_owned());
        }
        match &spec.model.moe {
            Some(experts) => self.split(&experts.experts, "experts", layout.moe, "moe_gpus")?,
            None => {
                let message = "moe_gpus needs a model with experts: add a table [model.moe]";
                return self.refuse(moe, message.to_owned());
            }
        };
        Ok(Layout::Separated(layout))
    }
}

/// Deals layers to stages; the first stages take one more where they do not go up.
fn stages(layers: u64, stages: u64) -> Vec<Range<u64>> {
    let start = |stage: u64| stage * (layers / stages) + stage.min(layers % stages);
    (0..stages).map(|stage| start(stage)..start(stage + 1)).collect()
}
