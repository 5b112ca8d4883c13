//! The layout of a plan file.

use super::Check;
use crate::plan::layout::{Layout, Pipeline, Separated, deal};
use crate::plan::model::Model;
use crate::spec::{Count, MoeSpec, Overlap, ParallelSpec, Phase, PlanSpec, Schedule, SpecError};

impl Check<'_> {
    pub fn pipeline(&self, spec: &PlanSpec, model: &Model, gpus: u64) -> Result<Layout, SpecError> {
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
        if let Some(ffn) = &spec.model.ffn {
            self.split(ffn, "ffn", tensor, "tensor")?;
        }
        if let Some(vocabulary) = &spec.model.vocabulary {
            self.split(vocabulary, "vocabulary", tensor, "tensor")?;
        }
        let expert = match &spec.model.moe {
            Some(moe) => self.expert_degree(parallel, moe, tensor, data)?,
            None => {
                if let Some(expert) = &parallel.expert {
                    let message = "the model has no experts to spread: take `expert` out";
                    return self.refuse(expert, message.to_owned());
                }
                1
            }
        };
        let sequence_parallel = parallel.sequence_parallel && tensor > 1;
        Ok(Layout::Pipeline(Pipeline {
            parts: self.parts(spec, model.layers, pipeline)?,
            pipeline,
            tensor,
            data,
            expert,
            sequence_parallel,
            scatter_sends: parallel.scatter_sends && tensor > 1 && !sequence_parallel,
        }))
    }

    /// The layers of each part of the model.
    fn parts(
        &self,
        spec: &PlanSpec,
        layers: u64,
        pipeline: u64,
    ) -> Result<Vec<std::ops::Range<u64>>, SpecError> {
        let Some(schedule) = &spec.schedule else { return Ok(deal(layers, pipeline)) };
        interleaved(layers, pipeline, *schedule.get_ref())
            .or_else(|message| self.refuse_at(schedule.span(), message))
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

    pub fn separated(
        &self,
        spec: &PlanSpec,
        model: &Model,
        phase: Phase,
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
        let only = match (&spec.model.vocabulary, phase) {
            (Some(_), _) => Some("leave embedding and LM head out: take vocabulary out"),
            (None, Phase::Train) => Some("run forward passes: phase must be prefill or decode"),
            (None, _) if model.mla.is_some() => Some("deal out heads of their own: take [model.mla] out"),
            (None, _) if spec.overlap != Overlap::None => {
                Some("take turns with their communication: take overlap out")
            }
            (None, _) => None,
        };
        if let Some(only) = only {
            return self.refuse(attention, format!("groups of attention_gpus and moe_gpus {only}"));
        }
        if model.dense_first.is_some() || model.shared_experts > 0 {
            let message = "moe_gpus hold routed experts only: take dense_layers and shared out";
            return self.refuse(moe, message.to_owned());
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

/// The parts of a pipeline under a schedule, or why there are none.
pub(in crate::plan) fn interleaved(
    layers: u64,
    pipeline: u64,
    schedule: Schedule,
) -> Result<Vec<std::ops::Range<u64>>, String> {
    let parts = pipeline * schedule.parts();
    if schedule.parts() > 1 && pipeline == 1 {
        return Err(format!(
            "schedule {schedule} needs at least two stages: use 1f1b, or pipeline = 2 and more"
        ));
    }
    if schedule.parts() > 1 && !layers.is_multiple_of(parts) {
        let fit: Vec<String> = (2..=layers / pipeline)
            .filter(|v| layers.is_multiple_of(pipeline * v))
            .map(|v| format!("interleaved:{v}"))
            .collect();
        let remedy = match fit.is_empty() {
            true => "use 1f1b".to_owned(),
            false => format!("use {} or 1f1b", fit.join(", ")),
        };
        return Err(format!(
            "{layers} layers cannot be dealt out to {pipeline} stages × {} parts alike\n  {remedy}",
            schedule.parts()
        ));
    }
    Ok(deal(layers, parts))
}
