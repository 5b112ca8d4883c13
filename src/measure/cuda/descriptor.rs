//! Descriptors of cuDNN's graph interface: made, given their attributes, and closed before they are used.

use std::ffi::{c_int, c_void};
use std::rc::Rc;

use super::dnn::{Dnn, Opaque};
use super::trouble::Trouble;

/// Kinds of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Kind {
    Pointwise = 0,
    Engine = 2,
    EngineConfig = 3,
    EngineHeuristic = 4,
    ExecutionPlan = 5,
    OperationPointwise = 13,
    OperationGraph = 15,
    VariantPack = 16,
    Tensor = 17,
    Matmul = 18,
    OperationMatmul = 19,
    Reduction = 21,
    OperationReduction = 22,
    #[cfg(test)]
    Device = 38,
}

/// Types of attributes whose value is one of an enumeration.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
pub(super) enum Code {
    DataType = 1,
    Heuristic = 8,
    Pointwise = 14,
    Reduction = 18,
}

/// Types of the other attributes.
const HANDLE: c_int = 0;
const BOOLEAN: c_int = 2;
const INT64: c_int = 3;
const VOID_POINTER: c_int = 6;
const DESCRIPTOR: c_int = 15;

/// A descriptor, destroyed when it is dropped.
#[derive(Debug)]
pub(super) struct Descriptor {
    dnn: Rc<Dnn>,
    raw: Opaque,
}

impl Descriptor {
    /// An empty one.
    pub fn new(dnn: &Rc<Dnn>, kind: Kind) -> Result<Self, Trouble> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the pointer is to a variable of ours.
        #[allow(unsafe_code)]
        let status = unsafe { (dnn.functions.create_descriptor)(kind as c_int, &raw mut raw) };
        dnn.status("cudnnBackendCreateDescriptor", status)?;
        Ok(Descriptor { dnn: Rc::clone(dnn), raw })
    }

    /// What calls take.
    pub const fn raw(&self) -> Opaque {
        self.raw
    }

    /// `T` must be the type that `of` stands for.
    fn set<T>(self, attribute: c_int, of: c_int, values: &[T]) -> Result<Self, Trouble> {
        let count = values.len() as i64;
        // SAFETY: the descriptor is alive; so many values are read, and copied, of the type that is said: all
        // callers are below.
        #[allow(unsafe_code)]
        let status = unsafe {
            (self.dnn.functions.set_attribute)(self.raw, attribute, of, count, values.as_ptr().cast())
        };
        self.dnn.status("cudnnBackendSetAttribute", status)?;
        Ok(self)
    }

    /// Sets whole numbers.
    pub fn longs(self, attribute: c_int, values: &[i64]) -> Result<Self, Trouble> {
        self.set(attribute, INT64, values)
    }

    /// Sets a value of an enumeration.
    pub fn code(self, attribute: c_int, of: Code, value: c_int) -> Result<Self, Trouble> {
        self.set(attribute, of as c_int, &[value])
    }

    /// Sets a property that a descriptor does not have otherwise.
    pub fn flag(self, attribute: c_int) -> Result<Self, Trouble> {
        self.set(attribute, BOOLEAN, &[true])
    }

    /// Sets addresses.
    pub fn pointers(self, attribute: c_int, values: &[*mut c_void]) -> Result<Self, Trouble> {
        self.set(attribute, VOID_POINTER, values)
    }

    /// Sets other descriptors, closed ones. They must outlive this one.
    pub fn parts(self, attribute: c_int, parts: &[&Descriptor]) -> Result<Self, Trouble> {
        let raw: Vec<Opaque> = parts.iter().map(|part| part.raw).collect();
        self.set(attribute, DESCRIPTOR, &raw)
    }

    /// Sets the library's handle.
    pub fn handle(self, attribute: c_int) -> Result<Self, Trouble> {
        let handle = self.dnn.handle();
        self.set(attribute, HANDLE, &[handle])
    }

    /// Sets a text.
    #[cfg(test)]
    pub fn text(self, attribute: c_int, text: &std::ffi::CStr) -> Result<Self, Trouble> {
        self.set(attribute, 24, text.to_bytes_with_nul())
    }

    /// Closes it: the library looks at all of it, and nothing can be set any more.
    pub fn close(self) -> Result<Self, Trouble> {
        // SAFETY: the descriptor is alive.
        #[allow(unsafe_code)]
        let status = unsafe { (self.dnn.functions.finalize)(self.raw) };
        self.dnn.status("cudnnBackendFinalize", status)?;
        Ok(self)
    }

    /// A whole number of a closed one.
    pub fn long(&self, attribute: c_int) -> Result<i64, Trouble> {
        let mut value = [0_i64];
        self.get(attribute, INT64, &mut value)?;
        Ok(value[0])
    }

    /// Fills `parts` with descriptors of a closed one, and tells how many there were.
    pub fn take(&self, attribute: c_int, parts: &[Descriptor]) -> Result<usize, Trouble> {
        let mut raw: Vec<Opaque> = parts.iter().map(|part| part.raw).collect();
        self.get(attribute, DESCRIPTOR, &mut raw)
    }

    /// `T` must be the type that `of` stands for.
    fn get<T>(&self, attribute: c_int, of: c_int, values: &mut [T]) -> Result<usize, Trouble> {
        let (room, mut count) = (values.len() as i64, 0_i64);
        // SAFETY: the descriptor is alive; no more than `room` values are written, of the type that is said: both
        // callers are above. Of descriptors the library fills those that the array names.
        #[allow(unsafe_code)]
        let status = unsafe {
            let to = values.as_mut_ptr().cast();
            (self.dnn.functions.get_attribute)(self.raw, attribute, of, room, &raw mut count, to)
        };
        self.dnn.status("cudnnBackendGetAttribute", status)?;
        Ok(usize::try_from(count).unwrap_or(0).min(values.len()))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: this is its only owner.
        #[allow(unsafe_code)]
        let _ = unsafe { (self.dnn.functions.destroy_descriptor)(self.raw) };
    }
}
