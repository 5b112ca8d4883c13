//! One GPU: its context, its one stream, its memory, and what it is.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::rc::Rc;
use std::time::{Duration, Instant};

use cudarc::driver::sys::{self, CUdevice_attribute_enum as Attribute};

use super::library::Library;
use super::peaks::Peaks;
use super::trouble::{Trouble, driver};

/// A run that takes longer than this does not end.
const DEADLINE: Duration = Duration::from_secs(20);

/// For how long waiting keeps a core busy: longer than most samples take.
const SPIN: Duration = Duration::from_millis(3);

/// What the driver says of a device.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Its number among those that can be seen.
    pub ordinal: i32,
    pub name: String,
    /// `GPU-` and 32 hexadecimal digits in five groups, as the management library has it.
    pub uuid: String,
    pub memory_bytes: u64,
    pub multiprocessors: u32,
    pub l2_bytes: u64,
    /// Compute capability.
    pub capability: (i32, i32),
    /// Version of CUDA that the driver speaks: 13000 is 13.0.
    pub cuda: i32,
    /// Devices that can be seen.
    pub devices: u64,
    pub peaks: Peaks,
}

/// A device with its primary context current on this thread, and one stream.
#[derive(Debug)]
pub(super) struct Gpu {
    pub facts: Facts,
    library: Library,
    stream: sys::CUstream,
    functions: RefCell<HashMap<String, sys::CUfunction>>,
    modules: RefCell<HashMap<&'static str, sys::CUmodule>>,
    /// Whether something never ended or broke the context: then no call may wait for the device any more.
    lost: Cell<bool>,
}

/// Asks what a device is, without making a context on it.
pub(super) fn facts(ordinal: i32) -> Result<Facts, Trouble> {
    let (mut device, mut count, mut cuda) = (0, 0, 0);
    let mut name = [0 as c_char; 256];
    let mut uuid = sys::CUuuid { bytes: [0; 16] };
    let mut memory_bytes = 0_usize;
    // SAFETY: each pointer is to a variable of ours of the size that the driver writes; `name` is given with
    // its length less one, so that a 0 ends it whatever the driver does.
    #[allow(unsafe_code)]
    let name = unsafe {
        driver("cuInit", sys::cuInit(0))?;
        driver("cuDriverGetVersion", sys::cuDriverGetVersion(&raw mut cuda))?;
        driver("cuDeviceGetCount", sys::cuDeviceGetCount(&raw mut count))?;
        driver("cuDeviceGet", sys::cuDeviceGet(&raw mut device, ordinal))?;
        driver("cuDeviceGetName", sys::cuDeviceGetName(name.as_mut_ptr(), 255, device))?;
        driver("cuDeviceGetUuid_v2", sys::cuDeviceGetUuid_v2(&raw mut uuid, device))?;
        driver("cuDeviceTotalMem_v2", sys::cuDeviceTotalMem_v2(&raw mut memory_bytes, device))?;
        CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned()
    };
    let attribute = |attribute| {
        let mut value: c_int = 0;
        // SAFETY: the pointer is to a variable of ours of the type that is written.
        #[allow(unsafe_code)]
        let code = unsafe { sys::cuDeviceGetAttribute(&raw mut value, attribute, device) };
        driver("cuDeviceGetAttribute", code).map(|()| value)
    };
    let positive = |value: c_int| u32::try_from(value).unwrap_or(0);
    Ok(Facts {
        ordinal,
        name,
        uuid: uuid_text(uuid.bytes.map(|byte| byte as u8)),
        memory_bytes: memory_bytes as u64,
        multiprocessors: positive(attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?),
        l2_bytes: positive(attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?).into(),
        capability: (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        cuda,
        devices: positive(count).into(),
        peaks: Peaks::new(|asked| attribute(asked).ok()),
    })
}

/// `GPU-5fd4f087-86f3-8e4a-d9cb-5e2b2a6e2b4f`.
fn uuid_text(bytes: [u8; 16]) -> String {
    let mut text = String::from("GPU");
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 0 | 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    text
}

impl Gpu {
    /// Makes the device current on this thread.
    pub fn open(facts: Facts, library: Library) -> Result<Self, Trouble> {
        let (mut device, mut context, mut stream) = (0, std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the driver is initialised, as `facts` was asked; each pointer is to a variable of ours. The
        // primary context is retained and never released: it lives as long as the process.
        #[allow(unsafe_code)]
        unsafe {
            driver("cuDeviceGet", sys::cuDeviceGet(&raw mut device, facts.ordinal))?;
            let code = sys::cuDevicePrimaryCtxRetain(&raw mut context, device);
            driver("cuDevicePrimaryCtxRetain", code)?;
            driver("cuCtxSetCurrent", sys::cuCtxSetCurrent(context))?;
            let flags = sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as u32;
            driver("cuStreamCreate", sys::cuStreamCreate(&raw mut stream, flags))?;
        }
        let (functions, modules, lost) = Default::default();
        Ok(Gpu { facts, library, stream, functions, modules, lost })
    }

    /// The stream that everything runs on.
    pub const fn stream(&self) -> sys::CUstream {
        self.stream
    }

    /// What differs between versions of the libraries.
    pub const fn library(&self) -> Library {
        self.library
    }

    /// Whether the device can be used no more.
    pub fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// Bytes of device memory that are free now; 0 where the driver does not say.
    pub fn free_bytes(&self) -> u64 {
        let (mut free, mut total) = (0_usize, 0_usize);
        // SAFETY: both pointers are to variables of ours of the type that is written.
        #[allow(unsafe_code)]
        let code = unsafe { sys::cuMemGetInfo_v2(&raw mut free, &raw mut total) };
        if driver("cuMemGetInfo_v2", code).is_ok() { free as u64 } else { 0 }
    }

    /// Notes trouble that leaves the device unusable, and hands it on.
    pub fn note<T>(&self, result: Result<T, Trouble>) -> Result<T, Trouble> {
        if result.as_ref().is_err_and(|trouble| trouble.is_final()) {
            self.lost.set(true);
        }
        result
    }

    /// Waits until `is_done` says so; calls `meanwhile` once, after the first look.
    ///
    /// It asks again and again, and gives up in the end: a call that waits would wait for ever with a kernel
    /// that never ends.
    pub fn wait(
        &self,
        mut is_done: impl FnMut() -> Result<bool, Trouble>,
        meanwhile: impl FnOnce(),
    ) -> Result<(), Trouble> {
        let start = Instant::now();
        let mut meanwhile = Some(meanwhile);
        while !self.note(is_done())? {
            if let Some(meanwhile) = meanwhile.take() {
                meanwhile();
            }
            let elapsed = start.elapsed();
            if elapsed > DEADLINE {
                return self.note(Err(Trouble::Endless(DEADLINE)));
            }
            if elapsed > SPIN {
                std::thread::sleep(Duration::from_micros(20));
            }
        }
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        Ok(())
    }

    /// A kernel of the module `ptx`, which is compiled for the device when the first of its kernels is asked
    /// for.
    pub fn function(&self, ptx: &'static str, name: &str) -> Result<Function, Trouble> {
        if let Some(&function) = self.functions.borrow().get(name) {
            return Ok(Function { function, stream: self.stream });
        }
        let module = self.module(ptx)?;
        let text = CString::new(name).map_err(|_| not_found(name))?;
        let mut function = std::ptr::null_mut();
        // SAFETY: the module is loaded and never unloaded; the name ends with 0; the pointer is to a variable
        // of ours.
        #[allow(unsafe_code)]
        let code = unsafe { sys::cuModuleGetFunction(&raw mut function, module, text.as_ptr()) };
        driver("cuModuleGetFunction", code)?;
        self.functions.borrow_mut().insert(name.to_owned(), function);
        Ok(Function { function, stream: self.stream })
    }

    fn module(&self, ptx: &'static str) -> Result<sys::CUmodule, Trouble> {
        if let Some(&module) = self.modules.borrow().get(ptx) {
            return Ok(module);
        }
        let text = CString::new(ptx).map_err(|_| not_found("module"))?;
        let mut module = std::ptr::null_mut();
        // SAFETY: the text is PTX that ends with 0, and the driver copies what it needs of it; the pointer is
        // to a variable of ours.
        #[allow(unsafe_code)]
        let code = unsafe { sys::cuModuleLoadData(&raw mut module, text.as_ptr().cast()) };
        driver("cuModuleLoadData", code)?;
        self.modules.borrow_mut().insert(ptx, module);
        Ok(module)
    }
}

const fn not_found(_: &str) -> Trouble {
    Trouble::Driver("cuModuleLoadData", sys::CUresult::CUDA_ERROR_NOT_FOUND)
}

/// A kernel, ready to be launched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    function: sys::CUfunction,
    stream: sys::CUstream,
}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument {
    Pointer(u64),
    Long(u64),
    Int(u32),
}

impl Function {
    /// Queues a launch of `blocks` blocks of `threads.0 × threads.1` threads.
    ///
    /// The arguments must be those that the kernel takes, in number and type, and its pointers must lead to
    /// buffers large enough for what it does with them; all callers are in this module tree, beside the code
    /// that allocates.
    pub fn launch(&self, blocks: u32, threads: (u32, u32), arguments: &[Argument]) -> Result<(), Trouble> {
        let mut pointers: Vec<*mut c_void> = arguments
            .iter()
            .map(|argument| match argument {
                Argument::Pointer(value) | Argument::Long(value) => (&raw const *value).cast_mut().cast(),
                Argument::Int(value) => (&raw const *value).cast_mut().cast(),
            })
            .collect();
        // SAFETY: the function belongs to a module that is never unloaded; the driver reads the arguments
        // before it returns, and `arguments` outlives the call.
        #[allow(unsafe_code)]
        let code = unsafe {
            sys::cuLaunchKernel(
                self.function,
                blocks,
                1,
                1,
                threads.0,
                threads.1,
                1,
                0,
                self.stream,
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        driver("cuLaunchKernel", code)
    }
}

/// A GPU that several parts of a backend use.
pub(super) type Shared = Rc<Gpu>;

#[cfg(test)]
mod tests {
    use super::uuid_text;

    #[test]
    fn a_uuid_as_it_is_written() {
        let bytes = std::array::from_fn(|i| (i * 17) as u8);
        assert_eq!(uuid_text(bytes), "GPU-00112233-4455-6677-8899-aabbccddeeff");
    }
}
