//! What cuDNN makes of a graph of attention: a plan, compiled once for each shape.

use std::rc::Rc;

use super::attention_graph::{Graph, Operand};
use super::descriptor::{Code, Descriptor, Kind};
use super::dnn::Dnn;
use super::trouble::Trouble;
use crate::op::Attention;

/// How configurations are chosen: by the library's usual rule, or whatever works.
const MODES: [i32; 2] = [3, 2];

/// Configurations that are tried at most.
const MOST: usize = 8;

/// What runs one shape of attention.
#[derive(Debug)]
pub(super) struct Plan {
    plan: Descriptor,
    /// Bytes that it works in.
    pub workspace_bytes: u64,
    /// The library's number of what computes it.
    pub engine: i64,
    /// What the plan was made of, which the library may look at still: to be dropped after it.
    _parts: Vec<Descriptor>,
}

impl Plan {
    /// Asks the library how it computes `op`, and makes the first of its answers that works ready to run: its kernel
    /// is compiled now, which takes about a second. `described` is a device that need not be there.
    pub fn new(dnn: &Rc<Dnn>, op: &Attention, described: Option<&Descriptor>) -> Result<Self, Trouble> {
        let graph = Graph::new(dnn, op)?;
        let whole = Descriptor::new(dnn, Kind::OperationGraph)?.parts(801, &graph.operations())?;
        let whole = if described.is_none() { whole.handle(800)? } else { whole };
        let whole = whole.close()?;
        let mut last = None;
        for mode in MODES {
            let heuristic = Descriptor::new(dnn, Kind::EngineHeuristic)?.parts(201, &[&whole])?;
            let heuristic = heuristic.code(200, Code::Heuristic, mode)?;
            let heuristic = match described {
                Some(device) => heuristic.parts(204, &[device])?,
                None => heuristic,
            };
            let heuristic = match heuristic.close() {
                Ok(heuristic) => heuristic,
                Err(trouble) => {
                    last = Some(trouble);
                    continue;
                }
            };
            let empty = || Descriptor::new(dnn, Kind::EngineConfig);
            let mut configs = (0..MOST).map(|_| empty()).collect::<Result<Vec<_>, _>>()?;
            configs.truncate(heuristic.take(202, &configs)?);
            for config in configs {
                match Plan::of(dnn, &config, described) {
                    Ok((plan, engine, workspace_bytes)) => {
                        let mut parts = graph.parts;
                        parts.extend([whole, heuristic, config]);
                        return Ok(Plan { plan, workspace_bytes, engine, _parts: parts });
                    }
                    Err(trouble) => last = Some(trouble),
                }
            }
        }
        Err(last.unwrap_or(Trouble::NoEngine))
    }

    /// A plan of a configuration, with its engine and its workspace.
    fn of(
        dnn: &Rc<Dnn>,
        config: &Descriptor,
        described: Option<&Descriptor>,
    ) -> Result<(Descriptor, i64, u64), Trouble> {
        let engines = [Descriptor::new(dnn, Kind::Engine)?];
        config.take(300, &engines)?;
        let engine = engines[0].long(1301)?;
        let plan = Descriptor::new(dnn, Kind::ExecutionPlan)?;
        let plan = match described {
            Some(device) => plan.parts(407, &[device])?,
            None => plan.handle(400)?,
        };
        let plan = plan.parts(401, &[config])?.close()?;
        let workspace = u64::try_from(plan.long(402)?).unwrap_or(0);
        Ok((plan, engine, workspace))
    }

    /// Queues one run: addresses of the operands in their order, the factor last, and of the workspace.
    ///
    /// They must lead to tensors of the plan's sizes, in buffers that live until the stream has been waited for; the
    /// factor is one number on the host and read before this returns.
    pub fn execute(
        &self,
        dnn: &Rc<Dnn>,
        operands: [u64; 4],
        scale: &f32,
        workspace: u64,
    ) -> Result<(), Trouble> {
        use Operand::{K, Out, Q, Scale, V};
        let pointer = |address: u64| address as usize as *mut std::ffi::c_void;
        let [q, k, v, out] = operands.map(pointer);
        let scale = (&raw const *scale).cast_mut().cast();
        let names = [Q, K, V, Out, Scale].map(|operand| operand as i64);
        let pack = Descriptor::new(dnn, Kind::VariantPack)?.longs(1000, &names)?;
        let pack =
            pack.pointers(1001, &[q, k, v, out, scale])?.pointers(1003, &[pointer(workspace)])?.close()?;
        dnn.execute(self.plan.raw(), pack.raw())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::rc::Rc;

    use super::{Descriptor, Dnn, Kind, Plan};
    use crate::dtype::Dtype;
    use crate::op::Attention;

    /// What cuDNN has to know of an H200 (its data sheet, and the limits of compute capability 9.0).
    const H200: &str = r#"{"maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
        "regsPerBlock": 65536, "multiProcessorCount": 132, "smCountOrigin": 0, "warpSize": 32,
        "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448,
        "reservedSharedMemoryPerBlock": 1024, "oversizedSharedMemoryPerBlock": 0, "maxRegistersPerSM": 65536,
        "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "pciDeviceId": 0,
        "isTccDriver": 0, "supportCoopLaunch": 1, "totalGlobalMem": 150754820096, "smClockRateKHz": 1980000,
        "memClockRateKHz": 3201000, "memoryBusWidth": 6144, "l2CacheSize": 62914560, "cudaDeviceId": 0,
        "deviceVer": 900, "driverVer": 13000, "deviceName": "NVIDIA H200"}"#;

    /// The real library, where it and a driver can be loaded, takes the graph for a GPU that is not there.
    #[test]
    fn cudnn_has_an_engine_for_every_shape() {
        let dnn = match Dnn::load() {
            Ok((_, dnn)) => Rc::new(dnn),
            Err(reason) => return eprintln!("skipped: {reason}"),
        };
        let text = CString::new(H200).unwrap();
        let device = Descriptor::new(&dnn, Kind::Device).and_then(|device| device.text(2702, &text)?.close());
        let device = match device {
            Ok(device) => device,
            Err(trouble) => return eprintln!("skipped: cuDNN {}: {trouble}", dnn.version()),
        };
        let shapes =
            [(1, 8, 1024, 1024, 128), (8, 2, 1, 4096, 128), (2, 3, 17, 33, 72), (1, 16, 500, 500, 512)];
        for (batch, heads, seq_q, seq_kv, head_dim) in shapes {
            for dtype in [Dtype::Bf16, Dtype::F16] {
                let op = Attention { batch, heads, seq_q, seq_kv, head_dim, dtype };
                let plan =
                    Plan::new(&dnn, &op, Some(&device)).unwrap_or_else(|trouble| panic!("{op:?}: {trouble}"));
                assert!(plan.workspace_bytes < 1 << 20, "{op:?}: {} bytes", plan.workspace_bytes);
                eprintln!("{op:?}: cuDNN {}, engine {}", dnn.version(), plan.engine);
            }
        }
    }
}
