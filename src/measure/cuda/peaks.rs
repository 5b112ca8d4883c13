//! How fast a device can be at most: no time is believed that is shorter than that.

use std::ffi::c_int;

use cudarc::driver::sys::CUdevice_attribute_enum as Attribute;

use crate::dtype::Dtype;
use crate::op::Op;

/// What a time may be better than the peak: clocks are read now and then only.
const ALLOWED: f64 = 1.02;

/// What a device's attributes say of its speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Peaks {
    capability: (c_int, c_int),
    multiprocessors: c_int,
    /// The highest clock of the multiprocessors, in kHz.
    khz: Option<c_int>,
    /// Of the memory: twice its clock times the width of its bus.
    bytes_per_s: Option<f64>,
}

/// Floating-point operations of dense products per clock and multiprocessor, sums in 32 bits.
///
/// Of tensor cores, and for f32 of the others: NVIDIA's A100 (2020), GA102 (2021), Ada (2022), H100 (2022) and
/// Blackwell (2024) architecture white papers; two operations a multiply-add.
fn operations(capability: (c_int, c_int), dtype: Dtype) -> Option<u32> {
    let (f32, bf16) = match capability {
        (8, 0) => (128, 2048),
        (8, 6 | 9) => (256, 1024),
        (9, 0) => (256, 4096),
        (10, 0 | 3) => (256, 8192),
        _ => return None,
    };
    match dtype {
        Dtype::F32 => Some(f32),
        Dtype::Tf32 => Some(bf16 / 2),
        Dtype::Bf16 | Dtype::F16 => Some(bf16),
        Dtype::F8E4m3 | Dtype::F8E5m2 => (capability >= (8, 9)).then_some(2 * bf16),
        Dtype::I8 => None,
    }
}

impl Peaks {
    /// Of the device whose attributes `ask` tells.
    pub fn new(ask: impl Fn(Attribute) -> Option<c_int>) -> Self {
        let ask = |attribute| ask(attribute).filter(|value| *value > 0);
        let memory_khz = ask(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
        let bits = ask(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
        let bytes_per_s = |(khz, bits)| 2e3 * f64::from(khz) * f64::from(bits) / 8.0;
        Peaks {
            capability: (
                ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR).unwrap_or(0),
                ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR).unwrap_or(0),
            ),
            multiprocessors: ask(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT).unwrap_or(0),
            khz: ask(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE),
            bytes_per_s: memory_khz.zip(bits).map(bytes_per_s),
        }
    }

    /// Bytes a second between the device and its memory.
    pub const fn bytes_per_s(&self) -> Option<f64> {
        self.bytes_per_s
    }

    /// The shortest time that `op` can take, in seconds: its products at the clock that was seen, in MHz, or at the
    /// highest there is; the traffic of a kernel whose operands are not in the cache, where `cold`. `None` where
    /// that is not known of the device.
    pub fn least_seconds(&self, op: &Op, mhz: Option<u32>, cold: bool) -> Option<f64> {
        let least = match (op, op.dtype()) {
            (Op::Gemm(_) | Op::Attention(_), Some(dtype)) => {
                let hertz =
                    mhz.map(|mhz| 1e6 * f64::from(mhz)).or(self.khz.map(|khz| 1e3 * f64::from(khz)))?;
                let each = f64::from(operations(self.capability, dtype)?);
                op.flops() as f64 / (each * f64::from(self.multiprocessors) * hertz)
            }
            (Op::Kernel(_), _) if cold => op.bytes() as f64 / self.bytes_per_s?,
            _ => return None,
        };
        (least > 0.0).then_some(least / ALLOWED)
    }
}

#[cfg(test)]
mod tests {
    use super::{Attribute, Peaks};
    use crate::dtype::Dtype;
    use crate::op::{Gemm, Kernel, KernelKind, Op};

    /// An H200: 989 TFLOP/s in bf16 at 1830 MHz (H100 white paper, table 3), 4.8 TB/s and 1979 TFLOP/s in fp8.
    #[test]
    fn an_h200_as_its_data_sheet_has_it() {
        let peaks = Peaks::new(|attribute| match attribute {
            Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR => Some(9),
            Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT => Some(132),
            Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE => Some(1_980_000),
            Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE => Some(3_201_000),
            Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH => Some(6144),
            _ => None,
        });
        let gemm = |dtype| Op::Gemm(Gemm { m: 8192, k: 8192, n: 8192, batch: 1, dtype });
        let rate =
            |dtype, mhz| gemm(dtype).flops() as f64 / peaks.least_seconds(&gemm(dtype), mhz, true).unwrap();
        assert!((rate(Dtype::Bf16, Some(1830)) / (1.02 * 989.4e12) - 1.0).abs() < 1e-3);
        assert!((rate(Dtype::F8E4m3, Some(1830)) / (1.02 * 1978.9e12) - 1.0).abs() < 1e-3);
        assert!(rate(Dtype::Bf16, None) > rate(Dtype::Bf16, Some(1830)));
        let copy = Kernel { kind: KernelKind::Copy, rows: 1 << 20, cols: 1024, top_k: 1, dtype: Dtype::Bf16 };
        let least = peaks.least_seconds(&Op::Kernel(copy), None, true).unwrap();
        let bytes_per_s = Op::Kernel(copy).bytes() as f64 / least / 1.02;
        assert!(bytes_per_s > 4.8e12 && bytes_per_s < 5.0e12, "{bytes_per_s}");
        assert_eq!(peaks.least_seconds(&Op::Kernel(copy), None, false), None);
    }

    #[test]
    fn of_an_unknown_device_nothing_is_said() {
        let peaks = Peaks::new(|_| None);
        let gemm = Op::Gemm(Gemm { m: 1, k: 1, n: 1, batch: 1, dtype: Dtype::Bf16 });
        assert_eq!((peaks.least_seconds(&gemm, Some(1000), true), peaks.bytes_per_s()), (None, None));
    }
}
