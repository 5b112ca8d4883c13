//! The model of a plan file.

use super::Check;
use crate::plan::model::{Mla, Mlp, Model};
use crate::spec::{ModelSpec, MoeSpec, Phase, SpecError};

impl Check<'_> {
    pub fn model(&self, spec: &ModelSpec, phase: Phase) -> Result<Model, SpecError> {
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
        let mla = match &spec.mla {
            None => None,
            Some(mla) => {
                if let Some(count) = spec.kv_heads.as_ref().or(spec.head_dim.as_ref()) {
                    let message = "[model.mla] says how wide heads are: take kv_heads and head_dim out";
                    return self.refuse(count, message.to_owned());
                }
                Some(Mla {
                    q_rank: self.positive(&mla.q_rank, "q_rank")?,
                    kv_rank: self.positive(&mla.kv_rank, "kv_rank")?,
                    nope_dim: self.positive(&mla.nope_dim, "nope_dim")?,
                    rope_dim: self.positive(&mla.rope_dim, "rope_dim")?,
                    v_dim: self.positive(&mla.v_dim, "v_dim")?,
                })
            }
        };
        let head_dim = match &spec.head_dim {
            None if mla.is_some() => mla.map_or(0, |mla| mla.v_dim),
            None => self.split(&spec.hidden, "hidden", heads, "heads")?,
            Some(count) => self.positive(count, "head_dim")?,
        };
        let mlp = match (&spec.ffn, &spec.moe) {
            (Some(ffn), None) => Mlp::Dense { ffn: self.positive(ffn, "ffn")? },
            (_, Some(moe)) => self.experts(moe)?,
            (None, None) => {
                let message = "the model has no MLP: give ffn, or a table [model.moe]";
                return self.refuse(&spec.hidden, message.to_owned());
            }
        };
        let layers = self.positive(&spec.layers, "layers")?;
        let dense_first = self.dense_first(spec, layers)?;
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
        let vocabulary =
            spec.vocabulary.as_ref().map(|count| self.positive(count, "vocabulary")).transpose()?;
        let shared = spec.moe.as_ref().and_then(|moe| moe.shared.as_ref());
        let shared_experts = shared.map_or(Ok(0), |count| self.positive(count, "shared"))?;
        Ok(Model {
            layers,
            hidden,
            heads,
            kv_heads,
            head_dim,
            mla,
            qkv: spec.qkv,
            mlp,
            gated: spec.gated,
            batch,
            sequence,
            queries: if phase == Phase::Decode { 1 } else { sequence },
            vocabulary,
            dense_first,
            shared_experts,
            dtype: spec.dtype,
        })
    }

    /// The leading layers without experts, and the width of their MLP.
    fn dense_first(&self, spec: &ModelSpec, layers: u64) -> Result<Option<(u64, u64)>, SpecError> {
        let Some(moe) = &spec.moe else { return Ok(None) };
        match (&moe.dense_layers, &spec.ffn) {
            (None, None) => Ok(None),
            (None, Some(ffn)) => {
                let message = "ffn and [model.moe] exclude each other: keep one, or say in [model.moe] how many \
                               dense_layers come first";
                self.refuse(ffn, message.to_owned())
            }
            (Some(count), None) => {
                let message = "dense_layers have an MLP: give its width, ffn, in [model]";
                self.refuse(count, message.to_owned())
            }
            (Some(count), Some(ffn)) => {
                let dense = self.positive(count, "dense_layers")?;
                if dense >= layers {
                    let message =
                        format!("dense_layers = {dense} leave none of the {layers} layers with experts");
                    return self.refuse(count, message);
                }
                Ok(Some((dense, self.positive(ffn, "ffn")?)))
            }
        }
    }

    /// The share of the routed tokens that goes to the most wanted expert.
    pub fn hottest(&self, spec: &ModelSpec) -> Result<Option<f64>, SpecError> {
        let Some(moe) = &spec.moe else { return Ok(None) };
        let Some(share) = &moe.hottest else { return Ok(None) };
        let (experts, top_k) = (*moe.experts.get_ref() as f64, *moe.top_k.get_ref() as f64);
        let (least, most) = (1.0 / experts, 1.0 / top_k);
        if (least..=most).contains(share.get_ref()) {
            return Ok(Some(*share.get_ref()));
        }
        let message = format!(
            "hottest = {} is a share of the routed tokens: at least {least:.4}, which is every expert's in the \
             mean, and at most {most:.4}, as no token goes to an expert twice",
            share.get_ref()
        );
        self.refuse_at(share.span(), message)
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
}
