//! `Cost` from a data sheet: what the hardware could do at best. Nothing here was measured.

use crate::cost::{Basis, Cost, CostError, Estimate};
use crate::op::{Collective, CollectiveKind, Link, Op, P2p};
use crate::spec::{self, LinkSpec, Sheet, SpecError};
use crate::units::Seconds;

/// The data sheets that are compiled in, with the source of every number: of vendors, and the rates that public
/// measurements show (`calibrate model`).
pub const BUILT_IN: [(&str, &str); 3] = [
    ("h200-sxm", include_str!("../sheets/h200-sxm.toml")),
    ("a100-sxm-80gb", include_str!("../sheets/a100-sxm-80gb.toml")),
    ("h200-model", include_str!("../calibration/h200-model.toml")),
];

/// The roofline of a data sheet.
///
/// * products and fused attention: max(flops / peak, bytes / bandwidth) + launch latency
/// * memory-bound kernels: bytes / bandwidth + launch latency
/// * sends: bytes / link bandwidth + link latency
/// * collectives: a ring's traffic over the slower of its links + a latency for every step + the time to start
#[derive(Clone, Debug)]
pub struct Roofline {
    sheet: Sheet,
}

impl Roofline {
    /// Reads a data sheet.
    ///
    /// # Errors
    /// When it is no valid TOML, a key is unknown or missing, or a figure makes no sense.
    pub fn parse(file: &str, text: &str) -> Result<Self, SpecError> {
        let sheet: Sheet = spec::parse(file, text)?;
        let positive = [
            ("memory_bytes", sheet.memory_bytes),
            ("memory_bandwidth_bytes_per_s", sheet.memory_bandwidth_bytes_per_s),
            ("gpus_per_node", sheet.gpus_per_node as f64),
            ("bandwidth_bytes_per_s", sheet.intra_node.bandwidth_bytes_per_s),
            ("bandwidth_bytes_per_s", sheet.inter_node.bandwidth_bytes_per_s),
        ];
        let peaks = sheet.flops_per_s.iter().map(|(dtype, peak)| (dtype.name(), *peak));
        let latencies = [
            ("launch_latency_seconds", sheet.launch_latency_seconds),
            ("latency_seconds", sheet.intra_node.latency_seconds),
            ("latency_seconds", sheet.inter_node.latency_seconds),
            ("start_seconds", sheet.intra_node.start_seconds),
            ("start_seconds", sheet.inter_node.start_seconds),
        ];
        let bad = (positive.into_iter().chain(peaks).find(|(_, x)| x.is_nan() || *x <= 0.0))
            .map(|(key, x)| (key, format!("{key} = {x} must be above 0 (inf is allowed)")))
            .or_else(|| {
                let (key, x) = latencies.into_iter().find(|(_, x)| !(x.is_finite() && *x >= 0.0))?;
                Some((key, format!("{key} = {x} must be a finite time, not below 0")))
            });
        match bad {
            None => Ok(Roofline { sheet }),
            Some((key, message)) => {
                let place = text.find(key).unwrap_or(0);
                Err(SpecError::at(file, text, place..place, message))
            }
        }
    }

    /// The data sheet that it rests on.
    pub const fn sheet(&self) -> &Sheet {
        &self.sheet
    }

    fn link(&self, link: Link) -> Option<LinkSpec> {
        match link {
            Link::IntraNode => Some(self.sheet.intra_node),
            Link::InterNode => Some(self.sheet.inter_node),
            Link::Class(_) | Link::DeviceToDevice | Link::HostToDevice | Link::DeviceToHost => None,
        }
    }

    fn send(&self, op: &P2p) -> Result<f64, CostError> {
        let link = self.link(op.link).ok_or_else(|| CostError::Missing {
            source_name: format!("the data sheet {}", self.sheet.name),
            missing: op.link.kind().to_owned(),
            op: Op::P2p(*op),
        })?;
        Ok(op.bytes as f64 / link.bandwidth_bytes_per_s + link.latency_seconds)
    }

    /// A ring, cut into as many channels as the group has GPUs on a node, so that every network card carries
    /// its share; an all_to_all sends directly, each part over the link that leads to its rank.
    fn collective(&self, op: &Collective) -> f64 {
        let (intra, inter) = (self.sheet.intra_node, self.sheet.inter_node);
        let size = op.bytes as f64;
        let traffic = size * op.traffic_factor();
        let steps = op.steps() as f64;
        if op.nodes <= 1 {
            return traffic / intra.bandwidth_bytes_per_s
                + steps * intra.latency_seconds
                + intra.start_seconds;
        }
        let ranks = op.ranks as f64;
        let per_node = (ranks / op.nodes as f64).max(1.0);
        let (inside, across) = match op.kind {
            CollectiveKind::AllToAll => (size * (per_node - 1.0) / ranks, size * (ranks - per_node) / ranks),
            _ => (traffic, traffic / per_node),
        };
        let transfer = (inside / intra.bandwidth_bytes_per_s).max(across / inter.bandwidth_bytes_per_s);
        let start = inter.start_seconds.max(intra.start_seconds);
        transfer + steps * inter.latency_seconds.max(intra.latency_seconds) + start
    }
}

impl Cost for Roofline {
    fn cost(&self, op: &Op) -> Result<Estimate, CostError> {
        let sheet = &self.sheet;
        let transfer = op.bytes() as f64 / sheet.memory_bandwidth_bytes_per_s;
        let seconds = match op {
            // counts beyond every bound are not the op's
            _ if op.bytes() == u128::MAX || op.flops() == u128::MAX => f64::INFINITY,
            Op::Gemm(_) | Op::Attention(_) => {
                let peak = op.dtype().and_then(|dtype| sheet.flops_per_s.get(&dtype));
                let peak = peak.ok_or_else(|| CostError::Missing {
                    source_name: format!("the data sheet {}", sheet.name),
                    missing: format!("peak for {}", op.dtype().map_or("", |dtype| dtype.name())),
                    op: *op,
                })?;
                transfer.max(op.flops() as f64 / peak) + sheet.launch_latency_seconds
            }
            Op::Kernel(_) => transfer + sheet.launch_latency_seconds,
            Op::P2p(op) => self.send(op)?,
            Op::Chain(_) => f64::INFINITY, // a sheet knows no layers
            Op::Collective(op) => self.collective(op),
            Op::Overlap(_) => {
                return Err(CostError::Missing {
                    source_name: format!("the data sheet {}", sheet.name),
                    missing: "slow-down of ops that run at the same time".to_owned(),
                    op: *op,
                });
            }
        };
        let seconds = Seconds::new(seconds).map_err(|_| CostError::NotFinite {
            source_name: format!("the data sheet {}", sheet.name),
            op: *op,
        })?;
        Ok(Estimate::exactly(seconds, Basis::Modelled))
    }
}
