//! Buffers on large pages of their own.
//!
//! With pages of 4 KiB the translation of addresses takes part of the time of an op, and whether the heap has large
//! ones where a buffer comes to lie is luck: a thin product that writes 10 MB of results took 12 % longer with small
//! pages there.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// Bytes of a large page; smaller buffers lie on the heap.
const LARGE: usize = 2 << 20;

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
        let mapped = (bytes >= LARGE).then(|| MmapMut::map_anon(bytes + LARGE).ok()).flatten();
        let Some(map) = mapped else { return Pages(Backing::Heap(vec![0.0; length])) };
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage); // a system that knows no such advice refuses it
        let first = map.as_ptr().align_offset(LARGE) / size_of::<f32>();
        Pages(Backing::Mapped(map, first, length))
    }
}

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
    use super::{LARGE, Pages};

    #[test]
    fn what_is_written_is_read_and_large_buffers_begin_with_a_page() {
        for length in [0, 5, LARGE / 4 - 1, LARGE / 4, LARGE] {
            let mut pages = Pages::new(length);
            assert_eq!(pages.len(), length);
            assert!(pages.iter().all(|value| *value == 0.0));
            pages.iter_mut().enumerate().for_each(|(i, value)| *value = i as f32);
            assert!(pages.iter().enumerate().all(|(i, value)| *value == i as f32));
            assert!(4 * length < LARGE || pages.as_ptr().align_offset(LARGE) == 0);
        }
    }
}
