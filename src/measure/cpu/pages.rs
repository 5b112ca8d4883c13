//! Buffers on large pages of their own.
//!
//! With pages of 4 KiB the translation of addresses takes part of the time of an op, and whether the heap has large
//! ones where a buffer comes to lie is luck: a thin product that writes 10 MB of results took 12 % longer with small
//! pages there.

use std::ops::{Deref, DerefMut};

use memmap2::{MmapMut, MmapOptions};

/// Bytes of a large page; smaller buffers lie on the heap.
const LARGE: usize = 2 << 20;

/// Addresses that are kept free behind a buffer, as a multiple of it: what is moved to grow would be filled anew, or
/// lose its large pages. They cost nothing until they are written to.
const ROOM: usize = 8;

/// Some elements, 0 at first, which nobody has touched: memory is there when they are written to.
#[derive(Debug)]
pub(super) struct Pages(Backing);

#[derive(Debug)]
enum Backing {
    Heap(Vec<f32>),
    /// A mapping, the element of it that lies on a large page's beginning, and the length from there.
    Mapped(MmapMut, usize, usize),
}

impl Pages {
    /// `length` elements; those of more than a large page begin with one, as far as the system has them.
    pub fn new(length: usize) -> Self {
        let bytes = size_of::<f32>() * length;
        let map = |bytes: usize| MmapOptions::new().len(bytes + LARGE).no_reserve_swap().map_anon().ok();
        let mapped = (bytes >= LARGE).then(|| map(ROOM * bytes).or_else(|| map(bytes))).flatten();
        let Some(map) = mapped else { return Pages(Backing::Heap(vec![0.0; length])) };
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage); // a system that knows no such advice refuses it
        let first = map.as_ptr().align_offset(LARGE) / size_of::<f32>();
        Pages(Backing::Mapped(map, first, length))
    }

    /// Makes it `length` elements, what there is among them, where there is room for more.
    ///
    /// # Errors
    /// When there is not.
    pub fn grow(&mut self, length: usize) -> Result<(), Full> {
        match &mut self.0 {
            Backing::Mapped(map, first, held) if *first + length <= map.len() / size_of::<f32>() => {
                *held = length.max(*held);
                Ok(())
            }
            _ => Err(Full),
        }
    }
}

/// There is no room behind a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Default for Pages {
    fn default() -> Self {
        Pages::new(0)
    }
}

impl Deref for Pages {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.0 {
            Backing::Heap(values) => values,
            Backing::Mapped(map, first, length) => &bytemuck::cast_slice(map)[*first..][..*length],
        }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [f32] {
        match &mut self.0 {
            Backing::Heap(values) => values,
            Backing::Mapped(map, first, length) => &mut bytemuck::cast_slice_mut(map)[*first..][..*length],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Full, LARGE, Pages, ROOM};

    #[test]
    fn what_is_written_is_read_and_large_buffers_begin_with_a_page() {
        for length in [0, 5, LARGE / 4 - 1, LARGE / 4, LARGE] {
            let mut pages = Pages::new(length);
            assert_eq!(pages.len(), length);
            assert!(pages.iter().all(|value| *value == 0.0));
            pages.iter_mut().enumerate().for_each(|(i, value)| *value = i as f32);
            assert!(pages.iter().enumerate().all(|(i, value)| *value == i as f32));
            assert!(4 * length < LARGE || pages.as_ptr().align_offset(LARGE) == 0);
            // in its place, as far as there is room
            let grown = pages.grow(length + LARGE);
            assert_eq!(grown.is_ok(), 4 * length >= LARGE);
            assert!(pages.iter().take(length).enumerate().all(|(i, value)| *value == i as f32));
            assert_eq!(pages.len(), if grown.is_ok() { length + LARGE } else { length });
            assert_eq!(pages.grow(ROOM * (length + LARGE)), Err(Full));
        }
    }
}
