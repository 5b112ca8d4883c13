//! cuDNN: the few functions of its graph interface that fused attention takes, and one handle.
//!
//! Loaded by hand, because a status that is newer than a binding must stay a number: as a variant of an enum that
//! does not know it, it would be undefined. Names and values are those of cudnn_graph.h, 9.0 to 9.27.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::rc::Rc;

use libloading::Library;

use super::gpu::Shared;
use super::trouble::Trouble;
use super::wheels;

/// Its names: the second is that of a development package.
const NAMES: [&str; 2] = ["libcudnn.so.9", "libcudnn.so"];

/// The first version with the interface as it is used here.
const OLDEST: usize = 90_000;

/// Versions whose attention is known to be wrong (cudnn-frontend, SDPA support surface, 2025).
const WRONG: [usize; 2] = [91_000, 91_001];

/// What the library hands out: a handle, or a descriptor.
pub(super) type Opaque = *mut c_void;

type Text = unsafe extern "C" fn(c_int) -> *const c_char;
type LastError = unsafe extern "C" fn(*mut c_char, usize);
type Create = unsafe extern "C" fn(c_int, *mut Opaque) -> c_int;
type One = unsafe extern "C" fn(Opaque) -> c_int;
type Set = unsafe extern "C" fn(Opaque, c_int, c_int, i64, *const c_void) -> c_int;
type Get = unsafe extern "C" fn(Opaque, c_int, c_int, i64, *mut i64, *mut c_void) -> c_int;
type Three = unsafe extern "C" fn(Opaque, Opaque, Opaque) -> c_int;

/// The library's functions, by their names without `cudnn` and `cudnnBackend`.
#[derive(Debug)]
pub(super) struct Functions {
    error_string: Text,
    last_error: Option<LastError>,
    pub create_descriptor: Create,
    pub destroy_descriptor: One,
    pub finalize: One,
    pub set_attribute: Set,
    pub get_attribute: Get,
    execute: Three,
}

/// The library, with one handle on the stream of one device. It is never unloaded.
#[derive(Debug)]
pub(super) struct Dnn {
    pub functions: Functions,
    version: usize,
    handle: Opaque,
}

/// The function of that name, copied out of the library, which must outlive it.
fn function<F: Copy>(library: &Library, name: &str) -> Result<F, String> {
    // SAFETY: the signatures of all callers are those of cudnn_graph.h.
    #[allow(unsafe_code)]
    let found = unsafe { library.get::<F>(name.as_bytes()) };
    found.map(|function| *function).map_err(|_| format!("cuDNN has no {name}"))
}

impl Dnn {
    /// Finds the library and opens it for a device.
    ///
    /// # Errors
    /// Why there is no fused attention, in words.
    pub fn open(gpu: &Shared) -> Result<Rc<Self>, String> {
        let (library, mut dnn) = Dnn::load()?;
        let create: unsafe extern "C" fn(*mut Opaque) -> c_int = function(library, "cudnnCreate")?;
        let set_stream: unsafe extern "C" fn(Opaque, *mut c_void) -> c_int =
            function(library, "cudnnSetStream")?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the context of the device is current; the pointer is to a variable of ours. The handle and the
        // stream live as long as the process.
        #[allow(unsafe_code)]
        let (created, set) = unsafe {
            match create(&raw mut handle) {
                0 => (0, set_stream(handle, gpu.stream().cast())),
                status => (status, 0),
            }
        };
        dnn.status("cudnnCreate", created).map_err(|trouble| trouble.to_string())?;
        dnn.status("cudnnSetStream", set).map_err(|trouble| trouble.to_string())?;
        dnn.handle = handle;
        Ok(Rc::new(dnn))
    }

    /// The library without a handle.
    pub fn load() -> Result<(&'static Library, Self), String> {
        // SAFETY: the initialisers of NVIDIA's library are made to be run by any program that loads it.
        #[allow(unsafe_code)]
        let load = |path: &std::ffi::OsStr| unsafe { Library::new(path) }.ok();
        let by_name = NAMES.iter().find_map(|name| load(name.as_ref()));
        let library = by_name.or_else(|| wheels::load(NAMES[0]));
        let library = library.ok_or("libcudnn.so.9 was not found, nor in a package of python3")?;
        // Never unloaded: its functions are kept, and its threads may run.
        let library: &'static Library = Box::leak(Box::new(library));
        let version: unsafe extern "C" fn() -> usize = function(library, "cudnnGetVersion")?;
        // SAFETY: it takes and touches nothing.
        #[allow(unsafe_code)]
        let version = unsafe { version() };
        if version < OLDEST || WRONG.contains(&version) {
            return Err(format!("cuDNN {} is not used; 9.1 or later is, without 9.10.0", text(version)));
        }
        let functions = Functions {
            error_string: function(library, "cudnnGetErrorString")?,
            last_error: function(library, "cudnnGetLastErrorString").ok(),
            create_descriptor: function(library, "cudnnBackendCreateDescriptor")?,
            destroy_descriptor: function(library, "cudnnBackendDestroyDescriptor")?,
            finalize: function(library, "cudnnBackendFinalize")?,
            set_attribute: function(library, "cudnnBackendSetAttribute")?,
            get_attribute: function(library, "cudnnBackendGetAttribute")?,
            execute: function(library, "cudnnBackendExecute")?,
        };
        Ok((library, Dnn { functions, version, handle: std::ptr::null_mut() }))
    }

    /// `9.19.0`.
    pub fn version(&self) -> String {
        text(self.version)
    }

    /// What graphs and plans are made for.
    pub const fn handle(&self) -> Opaque {
        self.handle
    }

    /// The result of a call, with the library's words for what went wrong.
    pub fn status(&self, call: &'static str, status: c_int) -> Result<(), Trouble> {
        if status == 0 {
            return Ok(());
        }
        let mut reason: [c_char; 512] = [0; 512];
        // SAFETY: the name is a text of the library's own that lives as long as the library; the reason is written
        // with its end to an array of the length that is said, less one.
        #[allow(unsafe_code)]
        let (name, reason) = unsafe {
            let name = (self.functions.error_string)(status);
            let name = if name.is_null() { c"a status without a name" } else { CStr::from_ptr(name) };
            if let Some(last_error) = self.functions.last_error {
                last_error(reason.as_mut_ptr(), reason.len() - 1);
            }
            (name.to_string_lossy().into_owned(), CStr::from_ptr(reason.as_ptr()).to_string_lossy())
        };
        let words = if reason.is_empty() { name } else { format!("{name}: {reason}") };
        Err(Trouble::Dnn(call, words))
    }

    /// Queues what a plan does, on the operands of a variant pack.
    ///
    /// Both must be whole descriptors of these kinds, made for this handle; the operands must be as large as the
    /// plan's tensors, in buffers that live until the stream has been waited for.
    pub fn execute(&self, plan: Opaque, pack: Opaque) -> Result<(), Trouble> {
        // SAFETY: as the caller says.
        #[allow(unsafe_code)]
        let status = unsafe { (self.functions.execute)(self.handle, plan, pack) };
        self.status("cudnnBackendExecute", status)
    }
}

/// 91900 is 9.19.0.
fn text(version: usize) -> String {
    format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100)
}
