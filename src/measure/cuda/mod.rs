//! Whether there is a CUDA driver at all.

/// The driver's library, by the name that every driver package installs.
const DRIVER: &str = "libcuda.so.1";

/// Why no GPU can be measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{DRIVER} was not found")]
pub struct NoDriver;

/// Looks for the driver where the system's loader looks for libraries.
///
/// # Errors
/// When there is none.
pub fn find_driver() -> Result<(), NoDriver> {
    // SAFETY: loading NVIDIA's driver library runs its initialisers, which are made to be run by any program
    // that loads it; nothing is called in it.
    #[allow(unsafe_code)]
    let library = unsafe { libloading::Library::new(DRIVER) };
    library.map(drop).map_err(|_| NoDriver)
}
