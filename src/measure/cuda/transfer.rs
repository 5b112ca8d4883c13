//! Copies: from one device to another, and between a device and its host.

use std::rc::Rc;

use super::arena::{Buffers, Part, Zone};
use super::check::{Unchecked, compare, places};
use super::gpu::Shared;
use super::peer::{Peer, Remote};
use super::pinned::Pinned;
use super::trouble::Trouble;
use crate::op::{Link, P2p};

/// Numbers of the copy that are compared.
const CHECKED: usize = 32;

/// The most that is taken of the host's memory, in bytes: it cannot be paged out, and takes long to get.
const MOST_PINNED: u64 = 64 << 20;

/// A copy with the places of both its ends.
#[derive(Debug)]
pub(super) struct Transfer {
    /// In the memory of the first device, in as many copies as the cache asks for.
    near: Part,
    far: Far,
}

/// The other end, and the way.
#[derive(Debug)]
enum Far {
    Device(Remote),
    FromHost(Pinned),
    ToHost(Pinned),
}

/// Whether a copy can be run, apart from memory; `alone` says why there is no other device.
pub(super) fn supported(op: &P2p, alone: Option<&String>) -> Result<(), String> {
    match (op.link, alone) {
        (Link::DeviceToDevice, Some(reason)) => Err(reason.clone()),
        (Link::HostToDevice | Link::DeviceToHost, _) if op.bytes > MOST_PINNED => {
            Err("more of the host's memory than is taken".to_owned())
        }
        _ if op.bytes < 2 => Err("copies have 2 bytes at least".to_owned()),
        _ => Ok(()),
    }
}

impl Transfer {
    /// Places both ends of `op`; its size has been checked against the memory of the first device.
    pub fn new(
        gpu: &Shared,
        peer: Option<&Rc<Peer>>,
        op: &P2p,
        copies: u64,
        (inputs, outputs): (&mut Zone, &mut Zone),
    ) -> Result<Self, Trouble> {
        let (far, zone) = match (op.link, peer) {
            (Link::HostToDevice, _) => (Far::FromHost(Pinned::new(gpu, op.bytes)?), outputs),
            (Link::DeviceToHost, _) => (Far::ToHost(Pinned::new(gpu, op.bytes)?), inputs),
            (_, Some(peer)) => (Far::Device(Remote::new(gpu, peer, op.bytes)?), inputs),
            (_, None) => return Err(Trouble::NoAlgorithm),
        };
        Ok(Transfer { near: zone.part(op.bytes, copies), far })
    }

    /// What is recorded of the way: from one memory to the other or through the host; from pages that stay.
    pub fn words(&self) -> &'static str {
        match &self.far {
            Far::Device(remote) if remote.is_direct() => "path=direct",
            Far::Device(_) => "path=host",
            Far::FromHost(_) | Far::ToHost(_) => "pinned",
        }
    }

    /// Queues the copy of a turn.
    pub fn launch(&self, gpu: &Shared, buffers: &Buffers<'_>, turn: u64) -> Result<(), Trouble> {
        let place = self.near.at(turn);
        match &self.far {
            Far::Device(remote) => remote.receive(gpu, buffers.inputs.address() + place),
            Far::FromHost(pinned) => pinned.send(gpu, buffers.outputs.address() + place),
            Far::ToHost(pinned) => pinned.fetch(gpu, buffers.inputs.address() + place),
        }
    }

    /// Whether what was sent has arrived: 2 bytes at the first, the last and some other places.
    pub fn check(&self, buffers: &Buffers<'_>) -> Result<(), Unchecked> {
        for place in places(CHECKED, self.near.bytes / 2) {
            let offset = 2 * place;
            let near = self.near.at(0) + offset;
            let (sent, arrived) = match &self.far {
                Far::Device(remote) => (buffers.inputs.read(near)?, remote.read(offset)?),
                Far::FromHost(pinned) => (pinned.read(offset), buffers.outputs.read(near)?),
                Far::ToHost(pinned) => (buffers.inputs.read(near)?, pinned.read(offset)),
            };
            let number = |bits: [u8; 2]| f64::from(u16::from_le_bytes(bits));
            compare(|| format!("bytes {offset} to {}", offset + 1), number(sent), number(arrived), 0.0)?;
        }
        Ok(())
    }
}
