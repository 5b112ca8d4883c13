//! Which GPU rows are of, where their table does not say.

use super::terms::Terms;

/// A GPU in use, by its data sheet: dense 16-bit tensor FLOP/s, bytes/s of its memory, multiprocessors.
struct Gpu {
    flops: f64,
    bandwidth: f64,
    sms: u64,
}

const fn gpu(teraflops: f64, terabytes: f64, sms: u64) -> Gpu {
    Gpu { flops: teraflops * 1e12, bandwidth: terabytes * 1e12, sms }
}

/// From NVIDIA's data sheets: T4, RTX 4090, A10, A40, V100 SXM, L40S, A100 SXM, H100 PCIe, H100 SXM, H200 SXM, B200.
const GPUS: [Gpu; 11] = [
    gpu(65.0, 0.32, 40),
    gpu(165.0, 1.01, 128),
    gpu(125.0, 0.60, 72),
    gpu(150.0, 0.70, 84),
    gpu(125.0, 0.90, 80),
    gpu(362.0, 0.86, 142),
    gpu(312.0, 2.04, 108),
    gpu(756.0, 2.0, 114),
    gpu(989.0, 3.35, 132),
    gpu(989.0, 4.8, 132),
    gpu(2250.0, 8.0, 148),
];

/// What large products reach of both rates.
const REACHED: f64 = 0.8;

/// Farther off than this, squared and in logarithms, a rate says no more: f32 need not run on tensor cores, and large
/// products alone do not show the memory's.
const MOST_OFF: f64 = 1.0;

/// The multiprocessors of the GPU whose rates are nearest to the best of some products of `element_bytes`.
///
/// The waves themselves do not tell: over 700 products of an H200 menus of 40 to 148 multiprocessors, each with its
/// own constants, err by 5.1 to 5.5 % on average, and in another order for every draw.
pub fn multiprocessors(best: &Terms, element_bytes: f64) -> u64 {
    let [flops, bandwidth] = best.rates.map(|rate| rate / REACHED);
    let off = |gpu: &Gpu| {
        let of_flops = (flops * element_bytes / 2.0 / gpu.flops).ln().powi(2).min(MOST_OFF);
        of_flops + (bandwidth / gpu.bandwidth).ln().powi(2).min(MOST_OFF)
    };
    let nearest = GPUS.iter().min_by(|a, b| off(a).total_cmp(&off(b)));
    nearest.map_or(GPUS[0].sms, |gpu| gpu.sms)
}
