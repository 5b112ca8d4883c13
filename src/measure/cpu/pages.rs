//! Large pages for large buffers: with pages of 4 KiB the translation of addresses takes more time the more memory
//! the ops of a layer are spread over. That it is why layers of thin products take longer than their ops is likely and
//! not proven: on a busy processor ep16's took 11 and 13 % longer with small pages, and 2 to 18 % with large ones.

/// Bytes of the pages that are asked for; smaller buffers are left alone.
#[cfg(target_os = "linux")]
const LARGE: usize = 2 << 20;

/// Asks the system to back what a buffer may hold with large pages, as far as it has them. To be called before the
/// memory is written to for the first time.
#[cfg(target_os = "linux")]
pub(super) fn large(buffer: &mut Vec<f32>) {
    use rustix::mm::{Advice, madvise};

    let (start, bytes) = (buffer.as_mut_ptr(), size_of::<f32>() * buffer.capacity());
    let skipped = start.cast::<u8>().align_offset(LARGE);
    let Some(bytes) =
        bytes.checked_sub(skipped).map(|bytes| bytes / LARGE * LARGE).filter(|bytes| *bytes > 0)
    else {
        return;
    };
    // SAFETY: the range lies within what the buffer has allocated; the advice changes how the memory is backed, and
    // nothing of what it holds. A system that knows no such advice refuses it.
    #[allow(unsafe_code)]
    let _ = unsafe { madvise(start.cast::<u8>().add(skipped).cast(), bytes, Advice::LinuxHugepage) };
}

/// Large pages are asked for on Linux.
#[cfg(not(target_os = "linux"))]
pub(super) const fn large(_: &mut Vec<f32>) {}
