//! Loops compiled for the widest vector instructions of the processor that they run on.

use pulp::{Arch, Simd, WithSimd};

/// Calls `f` with `operands`, compiled for each instruction set, in the version for this processor.
///
/// Only what is inlined into `f` is compiled so: `f` and what it calls must be `#[inline(always)]`. That is
/// also why what `f` writes to goes through `operands`: a closure that borrows it mutably is called through a
/// function that the compiler does not always inline.
pub(super) fn vectorised<A, R>(operands: A, f: impl Fn(A) -> R) -> R {
    Arch::new().dispatch(Loops { operands, f })
}

struct Loops<A, F> {
    operands: A,
    f: F,
}

impl<A, R, F: Fn(A) -> R> WithSimd for Loops<A, F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> R {
        (self.f)(self.operands)
    }
}
