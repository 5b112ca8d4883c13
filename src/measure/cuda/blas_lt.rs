//! cuBLASLt: descriptors and the choice of an algorithm once per product, and the call that is timed.

use std::ffi::{c_int, c_void};
use std::rc::Rc;

use cudarc::cublaslt::sys::{self, cudaDataType_t as Type};

use super::gpu::Shared;
use super::memory::Buffer;
use super::trouble::{Trouble, blas_lt};
use crate::dtype::Dtype;
use crate::op::Gemm;

/// The library, with the memory that its algorithms may work in.
#[derive(Debug)]
pub(super) struct BlasLt {
    gpu: Shared,
    handle: sys::cublasLtHandle_t,
    workspace: Buffer,
}

/// A way to compute a product, with what the library says of it.
#[derive(Clone, Debug)]
pub(super) struct Algorithm {
    algorithm: sys::cublasLtMatmulAlgo_t,
    /// `algo=66 tile=20 split_k=1 stages=35 waves=0.97`.
    pub words: String,
}

/// One product `C = A·B`, or a batch of them, described to the library.
#[derive(Debug)]
pub(super) struct Description {
    library: Rc<BlasLt>,
    operation: sys::cublasLtMatmulDesc_t,
    /// The library's A, B and C, which are B, A and C transposed of ours.
    layouts: [sys::cublasLtMatrixLayout_t; 3],
}

impl BlasLt {
    /// Opens the library; its workspace is as large as that of PyTorch: 32 MiB from Hopper on, 4 MiB before.
    pub fn open(gpu: &Shared) -> Result<Self, Trouble> {
        let mebibytes = if gpu.facts.capability.0 >= 9 { 32 } else { 4 };
        let workspace = Buffer::new(gpu, mebibytes << 20)?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the pointer is to a variable of ours. The handle lives as long as the process.
        #[allow(unsafe_code)]
        let status = unsafe { sys::cublasLtCreate(&raw mut handle) };
        blas_lt("cublasLtCreate", status)?;
        Ok(BlasLt { gpu: Shared::clone(gpu), handle, workspace })
    }

    /// `13.1.0`.
    pub fn version(&self) -> String {
        // SAFETY: it takes and touches nothing.
        #[allow(unsafe_code)]
        let version = unsafe { sys::cublasLtGetVersion() };
        // 120805 is 12.8.5, and 130100 is 13.1.0.
        format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100)
    }

    /// Bytes that algorithms may work in.
    pub const fn workspace_bytes(&self) -> u64 {
        self.workspace.bytes()
    }
}

/// Element types of the operands and of the result, and how sums are kept.
fn types(dtype: Dtype) -> Option<(Type, Type, sys::cublasComputeType_t)> {
    use sys::cublasComputeType_t as Compute;
    let plain = Compute::CUBLAS_COMPUTE_32F;
    match dtype {
        Dtype::Bf16 => Some((Type::CUDA_R_16BF, Type::CUDA_R_16BF, plain)),
        Dtype::F16 => Some((Type::CUDA_R_16F, Type::CUDA_R_16F, plain)),
        Dtype::F32 => Some((Type::CUDA_R_32F, Type::CUDA_R_32F, plain)),
        Dtype::Tf32 => Some((Type::CUDA_R_32F, Type::CUDA_R_32F, Compute::CUBLAS_COMPUTE_32F_FAST_TF32)),
        Dtype::F8E4m3 => Some((Type::CUDA_R_8F_E4M3, Type::CUDA_R_16BF, plain)),
        Dtype::F8E5m2 | Dtype::I8 => None,
    }
}

impl Description {
    /// Describes `op`, all matrices row by row, but B of 8-bit products column by column: the only order that
    /// the library takes for these. The library counts columns first, so it computes Cᵀ = Bᵀ·Aᵀ.
    pub fn new(library: &Rc<BlasLt>, op: &Gemm) -> Result<Self, Trouble> {
        let Some((of_operands, of_result, compute)) = types(op.dtype) else {
            return Err(Trouble::NoAlgorithm);
        };
        let mut operation = std::ptr::null_mut();
        // SAFETY: the pointer is to a variable of ours.
        #[allow(unsafe_code)]
        let status = unsafe { sys::cublasLtMatmulDescCreate(&raw mut operation, compute, Type::CUDA_R_32F) };
        blas_lt("cublasLtMatmulDescCreate", status)?;
        let (library, layouts) = (Rc::clone(library), [std::ptr::null_mut(); 3]);
        let mut description = Description { library, operation, layouts };
        let is_8_bit = op.dtype == Dtype::F8E4m3;
        if is_8_bit {
            use sys::cublasLtMatmulDescAttributes_t as Attribute;
            let (transposed, fast): (c_int, i8) = (1, 1);
            description.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, &transposed)?;
            // As inference engines have it: sums are kept with fewer bits for a while.
            description.set(Attribute::CUBLASLT_MATMUL_DESC_FAST_ACCUM, &fast)?;
        }
        let first = if is_8_bit { (op.k, op.n) } else { (op.n, op.k) };
        let sizes = [(of_operands, first), (of_operands, (op.k, op.m)), (of_result, (op.n, op.m))];
        for (layout, (of, (rows, columns))) in description.layouts.iter_mut().zip(sizes) {
            // SAFETY: the pointer is to a variable of ours.
            #[allow(unsafe_code)]
            let status = unsafe { sys::cublasLtMatrixLayoutCreate(layout, of, rows, columns, rows as i64) };
            blas_lt("cublasLtMatrixLayoutCreate", status)?;
            if op.batch > 1 {
                use sys::cublasLtMatrixLayoutAttribute_t as Attribute;
                let (count, stride) = (op.batch as i32, (rows * columns) as i64);
                set_layout(*layout, Attribute::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count)?;
                set_layout(*layout, Attribute::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride)?;
            }
        }
        Ok(description)
    }

    fn set<T>(&self, attribute: sys::cublasLtMatmulDescAttributes_t, value: &T) -> Result<(), Trouble> {
        // SAFETY: the descriptor is alive; the value is read and copied, with its own size.
        #[allow(unsafe_code)]
        let status = unsafe {
            let value = (&raw const *value).cast::<c_void>();
            sys::cublasLtMatmulDescSetAttribute(self.operation, attribute, value, size_of::<T>())
        };
        blas_lt("cublasLtMatmulDescSetAttribute", status)
    }

    /// Up to `count` algorithms, the one that the library thinks fastest first.
    pub fn algorithms(&self, count: usize) -> Result<Vec<Algorithm>, Trouble> {
        let mut preference = std::ptr::null_mut();
        // SAFETY: the pointer is to a variable of ours.
        #[allow(unsafe_code)]
        let status = unsafe { sys::cublasLtMatmulPreferenceCreate(&raw mut preference) };
        blas_lt("cublasLtMatmulPreferenceCreate", status)?;
        let bytes = self.library.workspace.bytes() as usize;
        let unknown = sys::cublasLtMatmulHeuristicResult_t {
            algo: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
            workspaceSize: 0,
            state: sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED,
            wavesCount: 0.0,
            reserved: [0; 4],
        };
        let mut found = vec![unknown; count];
        let mut number: c_int = 0;
        let [first, second, result] = self.layouts;
        // SAFETY: all descriptors are alive; `found` has room for `count` results; `bytes` is read with its own
        // size; the preference is ours and used no more once it is destroyed.
        #[allow(unsafe_code)]
        let status = unsafe {
            use sys::cublasLtMatmulPreferenceAttributes_t as Attribute;
            let status = sys::cublasLtMatmulPreferenceSetAttribute(
                preference,
                Attribute::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                (&raw const bytes).cast(),
                size_of::<usize>(),
            );
            let status = if status == sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS {
                sys::cublasLtMatmulAlgoGetHeuristic(
                    self.library.handle,
                    self.operation,
                    first,
                    second,
                    result,
                    result,
                    preference,
                    count as c_int,
                    found.as_mut_ptr(),
                    &raw mut number,
                )
            } else {
                status
            };
            sys::cublasLtMatmulPreferenceDestroy(preference);
            status
        };
        if status == sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED {
            return Err(Trouble::NoAlgorithm);
        }
        blas_lt("cublasLtMatmulAlgoGetHeuristic", status)?;
        let found = found.into_iter().take(usize::try_from(number).unwrap_or(0));
        let usable = found.filter(|one| one.state == sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS);
        let algorithms: Vec<Algorithm> = usable.map(|one| described(&one)).collect();
        if algorithms.is_empty() { Err(Trouble::NoAlgorithm) } else { Ok(algorithms) }
    }

    /// Queues the product of the matrices at `a` and `b` into `c`.
    ///
    /// The addresses must lead to matrices of the sizes described, in buffers that live until the stream has
    /// been waited for.
    pub fn launch(&self, algorithm: &Algorithm, a: u64, b: u64, c: u64) -> Result<(), Trouble> {
        let (alpha, beta) = (1.0_f32, 0.0_f32);
        let workspace = &self.library.workspace;
        let pointer = |address: u64| address as usize as *mut c_void;
        let [first, second, result] = self.layouts;
        // SAFETY: handle and descriptors are alive; both factors are on the host, as is the default, and read
        // before the call returns; the workspace is as long as is said; the matrices are as the caller says.
        #[allow(unsafe_code)]
        let status = unsafe {
            sys::cublasLtMatmul(
                self.library.handle,
                self.operation,
                (&raw const alpha).cast(),
                pointer(b),
                first,
                pointer(a),
                second,
                (&raw const beta).cast(),
                pointer(c),
                result,
                pointer(c),
                result,
                &raw const algorithm.algorithm,
                pointer(workspace.address()),
                workspace.bytes() as usize,
                self.library.gpu.stream().cast(),
            )
        };
        blas_lt("cublasLtMatmul", status)
    }
}

fn set_layout<T>(
    layout: sys::cublasLtMatrixLayout_t,
    attribute: sys::cublasLtMatrixLayoutAttribute_t,
    value: &T,
) -> Result<(), Trouble> {
    // SAFETY: the layout is alive; the value is read and copied, with its own size.
    #[allow(unsafe_code)]
    let status = unsafe {
        let value = (&raw const *value).cast::<c_void>();
        sys::cublasLtMatrixLayoutSetAttribute(layout, attribute, value, size_of::<T>())
    };
    blas_lt("cublasLtMatrixLayoutSetAttribute", status)
}

/// What the library says of an algorithm; what it does not say is left out.
fn described(found: &sys::cublasLtMatmulHeuristicResult_t) -> Algorithm {
    use sys::cublasLtMatmulAlgoConfigAttributes_t as Attribute;
    let value = |attribute| {
        let (mut value, mut written) = (0_u32, 0_usize);
        // SAFETY: the algorithm is one that the library gave; 4 bytes are written to a variable of ours.
        #[allow(unsafe_code)]
        let status = unsafe {
            let (algorithm, to) = (&raw const found.algo, (&raw mut value).cast());
            sys::cublasLtMatmulAlgoConfigGetAttribute(algorithm, attribute, to, 4, &raw mut written)
        };
        (status == sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS).then_some(value)
    };
    let words = [
        ("algo", Attribute::CUBLASLT_ALGO_CONFIG_ID),
        ("tile", Attribute::CUBLASLT_ALGO_CONFIG_TILE_ID),
        ("split_k", Attribute::CUBLASLT_ALGO_CONFIG_SPLITK_NUM),
        ("stages", Attribute::CUBLASLT_ALGO_CONFIG_STAGES_ID),
    ];
    let words =
        words.into_iter().filter_map(|(name, attribute)| Some(format!("{name}={} ", value(attribute)?)));
    let words: String = words.collect();
    Algorithm { algorithm: found.algo, words: format!("{words}waves={:.2}", found.wavesCount) }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: this is the only owner of descriptors that were created; the library keeps none of them.
        #[allow(unsafe_code)]
        unsafe {
            for layout in self.layouts.into_iter().filter(|layout| !layout.is_null()) {
                sys::cublasLtMatrixLayoutDestroy(layout);
            }
            sys::cublasLtMatmulDescDestroy(self.operation);
        }
    }
}
