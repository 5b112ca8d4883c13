//! The whole graph as a chart: a column for each GPU, a row for each step of the longest path.
//!
//! The place of a node is read off and not searched for. Its column is its GPU, a collective is a bar over the
//! columns of its group, and its row is the number of nodes that must come before it. So the drawing of 1586
//! nodes has no crossing but the sends, a layer looks like every other layer, and a hole is seen as a hole,
//! which a layout that minimises lengths of edges would hide. That needs no layout engine, and none does it as
//! well: Graphviz 2.43 draws the .dot of `tp8-pp2` on 3,651 × 16,924 points with the GPUs out of order, and
//! layout-rs 0.1.3 is not done with the 224 nodes of `layerwise` in 40 s of a processor. The .dot is there for
//! them.

use std::collections::BTreeMap;

use super::svg::{Svg, escaped, short};
use crate::dag::Kind;
use crate::graph::{Graph, Node, Tensor};

const COLUMN: f64 = 74.0;
const ROW: f64 = 17.0;
const LEFT: f64 = 78.0;
const TOP: f64 = 92.0;
const BOX: [f64; 2] = [60.0, 12.0];

/// Draws the graph; the nodes of `critical` are marked, and the edges from each to the next.
pub fn drawing(graph: &Graph, critical: &[usize], subtitle: &str) -> String {
    let mut levels = levels(graph);
    let joined = joins(graph, &mut levels);
    let gpus = graph.nodes.iter().flat_map(|node| &node.gpus).max().map_or(1, |gpu| *gpu + 1);
    let width = LEFT + COLUMN * f64::from(gpus) + 14.0;
    let mut svg = Svg::new(width);
    svg.text([14.0, 24.0], 17.0, "b", &graph.name);
    svg.text([14.0, 42.0], 11.0, "f", subtitle);
    legend(&mut svg);
    for gpu in 0..gpus {
        svg.text([column(gpu), TOP - 10.0], 10.0, "m b", &format!("GPU {gpu}"));
    }
    let unnamed = bands(&mut svg, graph, &levels, width);
    let places: Vec<[f64; 4]> =
        (0..graph.nodes.len()).map(|i| place(&graph.nodes[i], joined.get(&i), levels[i], gpus)).collect();
    let mut marked = vec![None; graph.nodes.len()];
    critical.iter().enumerate().for_each(|(at, node)| marked[*node] = Some(at));
    for (edge, of) in graph.edges.iter().map(|edge| (edge, [edge.from, edge.to])) {
        let [from, to] = of.map(|i| &graph.nodes[i]);
        let next = matches!(of.map(|i| marked[i]), [Some(a), Some(b)] if b == a + 1);
        let class = match (edge.carries.is_empty(), next) {
            (_, true) => "e c",
            (true, _) => "e s",
            (false, _) => "e",
        };
        let far = levels[edge.to].saturating_sub(levels[edge.from]) > 1;
        let d = line(of.map(|i| places[i]), of.map(|i| graph.nodes[i].gpus.as_slice()), far);
        let [from, to] = [&from.id, &to.id].map(|id| escaped(id));
        svg.path(&d, &format!("class=\"{class}\" data-from=\"{from}\" data-to=\"{to}\""));
    }
    for (i, node) in graph.nodes.iter().enumerate() {
        let [x, y, w, h] = places[i];
        let kind = node.kind.unwrap_or(Kind::Join);
        svg.open(&node.id, &facts(node));
        let class = if marked[i].is_some() { "n c" } else { "n" };
        svg.rect([x, y, w, h], &format!("rx=\"2\" fill=\"{}\" class=\"{class}\"", kind.color()));
        let layer = (node.microbatch, node.layer.unwrap_or(u64::MAX));
        let name = match node.expert {
            _ if unnamed.get(&layer) == Some(&levels[i]) => format!("{} l{} u{}", node.op, layer.1, layer.0),
            Some(expert) => format!("{} {expert}", node.op),
            None => node.op.clone(),
        };
        let size = if name.len() > 12 && w < 70.0 { 7.4 } else { 8.0 };
        svg.text([x + w / 2.0, y + h / 2.0 + 2.8], size, "m", &name);
        svg.close();
    }
    let rows = levels.iter().max().map_or(0, |level| level + 1);
    svg.finish(TOP + ROW * rows as f64 + 16.0, &graph.name)
}

/// How many nodes must come before each node: its row.
pub fn levels(graph: &Graph) -> Vec<usize> {
    let mut levels = vec![0; graph.nodes.len()];
    let outgoing = graph.outgoing();
    for node in graph.order() {
        for edge in &outgoing[node] {
            let to = graph.edges[*edge].to;
            levels[to] = levels[to].max(levels[node] + 1);
        }
    }
    levels
}

fn column(gpu: u32) -> f64 {
    LEFT + COLUMN * (f64::from(gpu) + 0.5)
}

/// A join is drawn over the GPUs that it waits for, as late as may be: there they have nothing else to do.
fn joins(graph: &Graph, levels: &mut [usize]) -> BTreeMap<usize, Vec<u32>> {
    let mut joined: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    let mut before: BTreeMap<usize, usize> = BTreeMap::new();
    for edge in &graph.edges {
        if graph.nodes[edge.to].kind == Some(Kind::Join) {
            joined.entry(edge.to).or_default().extend(&graph.nodes[edge.from].gpus);
        }
        if graph.nodes[edge.from].kind == Some(Kind::Join) {
            let row = before.entry(edge.from).or_insert(levels[edge.to]);
            *row = (*row).min(levels[edge.to]);
        }
    }
    for (node, row) in before {
        levels[node] = row.saturating_sub(1).max(levels[node]);
    }
    joined
}

fn place(node: &Node, joined: Option<&Vec<u32>>, level: usize, gpus: u32) -> [f64; 4] {
    let y = TOP + ROW * level as f64;
    let [width, height] = BOX;
    let over = joined.unwrap_or(&node.gpus);
    let (first, last) = match (over.iter().min(), over.iter().max()) {
        (Some(first), Some(last)) => (*first, *last),
        _ => (0, gpus.saturating_sub(1)),
    };
    let x = column(first) - width / 2.0;
    [x, y, column(last) + width / 2.0 - x, height]
}

/// From the lower edge of one box to the upper edge of the other; around what lies between where it is far.
fn line([a, b]: [[f64; 4]; 2], gpus: [&[u32]; 2], far: bool) -> String {
    let center = |[x, _, w, _]: [f64; 4]| x + w / 2.0;
    let (from, to) = match gpus {
        [[g], [h]] => (column(*g), column(*h)),
        [[g], _] => (column(*g), column(*g)),
        [_, [h]] => (column(*h), column(*h)),
        _ => (center(a), center(b)),
    };
    let [y1, y2] = [a[1] + a[3], b[1]];
    let [x1, x2] = [from, to];
    if far && x1 == x2 {
        let side = x1 - BOX[0] / 2.0;
        let [x, left] = [side, side - 6.5].map(short);
        let [start, bend, end, stop] = [y1 - 4.0, y1 + 6.0, y2 - 2.0, y2 + 5.0].map(short);
        return format!("M{x} {start}Q{left} {start} {left} {bend}L{left} {end}Q{left} {stop} {x} {stop}");
    }
    let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(short);
    format!("M{x1} {y1}L{x2} {y2}")
}

/// A layer of a micro-batch.
type Layer = (u64, u64);

/// A band behind each layer, on the GPUs that it is on, with its number in the margin; where stages work at the
/// same time there is room for one. The others are returned with their first row, to be named there.
fn bands(svg: &mut Svg, graph: &Graph, levels: &[usize], width: f64) -> BTreeMap<Layer, usize> {
    // first and last GPU, first and last row
    let mut bands: BTreeMap<Layer, (u32, u32, usize, usize)> = BTreeMap::new();
    for (node, level) in graph.nodes.iter().zip(levels) {
        if let (Some(layer), Some(first), Some(last)) =
            (node.layer, node.gpus.iter().min(), node.gpus.iter().max())
        {
            let band = bands.entry((node.microbatch, layer)).or_insert((*first, *last, *level, *level));
            *band = (band.0.min(*first), band.1.max(*last), band.2.min(*level), band.3.max(*level));
        }
    }
    let last_gpu = bands.values().map(|band| band.1).max().unwrap_or(0);
    let mut in_order: Vec<_> = bands.into_iter().collect();
    in_order.sort_by_key(|(layer, (gpu, ..))| (*gpu, *layer));
    let (mut named, mut unnamed): (Vec<(usize, usize)>, _) = (Vec::new(), BTreeMap::new());
    for ((microbatch, layer), (first_gpu, end_gpu, first, last)) in in_order {
        let y = TOP + ROW * first as f64 - 3.0;
        let height = ROW * (last - first + 1) as f64;
        let fill = if layer % 2 == 0 { "#f4f5f7" } else { "#fbfbfc" };
        let alone = named.iter().all(|(from, to)| last < *from || *to < first);
        let left = if alone { 10.0 } else { column(first_gpu) - COLUMN / 2.0 };
        let right = if end_gpu == last_gpu { width - 10.0 } else { column(end_gpu) + COLUMN / 2.0 };
        svg.rect([left, y, right - left, height], &format!("fill=\"{fill}\""));
        if !alone {
            unnamed.insert((microbatch, layer), first);
            continue;
        }
        named.push((first, last));
        svg.text([16.0, y + 14.0], 10.0, "b", &format!("layer {layer}"));
        if microbatch > 0 {
            svg.text([16.0, y + 26.0], 9.0, "f", &format!("piece {microbatch}"));
        }
    }
    unnamed
}

/// What the colours mean.
pub fn legend(svg: &mut Svg) {
    let kinds = [
        (Kind::Gemm, "product"),
        (Kind::Attention, "fused attention"),
        (Kind::Mem, "memory-bound"),
        (Kind::Collective, "collective"),
        (Kind::Send, "send"),
        (Kind::Recv, "arrival"),
    ];
    let mut x = 14.0;
    for (kind, word) in kinds {
        svg.rect([x, 52.0, 12.0, 9.0], &format!("rx=\"2\" fill=\"{}\" class=\"n\"", kind.color()));
        svg.text([x + 17.0, 60.0], 10.0, "", word);
        x += 34.0 + 6.4 * word.len() as f64;
    }
    svg.rect([x, 52.0, 12.0, 9.0], "rx=\"2\" fill=\"#ffffff\" class=\"n c\"");
    svg.text([x + 17.0, 60.0], 10.0, "", "critical path");
}

/// All that is known of a node, line by line.
fn facts(node: &Node) -> String {
    let mut text = node.id.clone();
    for (op, count) in &node.ops {
        let times = if *count > 1 { format!("{count} × ") } else { String::new() };
        text += &format!("\n{times}{op}");
    }
    for (word, tensors) in [("in", &node.reads), ("out", &node.writes)] {
        for Tensor { name, shape } in tensors {
            text += &format!("\n{word} {name} {shape}");
        }
    }
    text
}
