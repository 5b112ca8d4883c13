//! Copies are rows of their own, and price no send.

use gettime::cost::{Cost, CostError};
use gettime::fit::Fit;
use gettime::op::{Link, Op, P2p};
use gettime::roofline::{BUILT_IN, Roofline};
use gettime::table::Table;

fn transfer(bytes: u64, link: Link) -> Op {
    Op::P2p(P2p { bytes, link })
}

#[test]
fn each_kind_is_read_and_written() {
    for (link, kind, ranks, nodes) in [
        (Link::IntraNode, "send", 2, 1),
        (Link::InterNode, "send", 2, 2),
        (Link::Class(1), "send_class1", 2, 1),
        (Link::DeviceToDevice, "device_to_device", 2, 1),
        (Link::HostToDevice, "host_to_device", 1, 1),
        (Link::DeviceToHost, "device_to_host", 1, 1),
    ] {
        let cells = transfer(4096, link).cells();
        assert_eq!((&*cells.kind, cells.ranks, cells.nodes), (kind, Some(ranks), Some(nodes)));
        assert_eq!(Op::from_cells(&cells), Ok(transfer(4096, link)));
    }
}

/// A table with copies from the host alone has no answer for a send, nor for a copy the other way; a data sheet has
/// none for either copy.
#[test]
fn a_copy_prices_nothing_else() {
    let rows: String =
        (10..24).map(|e| format!("p2p,host_to_device,{},1,{}\n", 1 << e, 1e-5 * f64::from(e))).collect();
    let table = format!("op,kind,bytes,nodes,seconds\n{rows}");
    let table = Table::parse(table.as_bytes(), "copies.csv").unwrap();
    let fit = Fit::new(&table, "copies");
    assert!(fit.cost(&transfer(4096, Link::HostToDevice)).is_ok());
    let missing = |link| matches!(fit.cost(&transfer(4096, link)), Err(CostError::Missing { .. }));
    assert!(missing(Link::IntraNode) && missing(Link::InterNode) && missing(Link::DeviceToHost));
    assert!(missing(Link::DeviceToDevice));
    let sheet = Roofline::parse("h200", BUILT_IN[0].1).unwrap();
    for link in [Link::DeviceToDevice, Link::HostToDevice, Link::DeviceToHost] {
        let error = sheet.cost(&transfer(4096, link)).unwrap_err().to_string();
        assert!(error.contains(&format!("has no {}", link.kind())), "{error}");
    }
    assert!(sheet.cost(&transfer(4096, Link::IntraNode)).is_ok());
}
