//! One layer, step by step, as one GPU of each kind sees it: sizes, shapes, times, and who else takes part.

use super::drawing::{legend, levels};
use super::svg::{Svg, short};
use super::three_seconds;
use crate::dag::Kind;
use crate::evaluate::Evaluation;
use crate::graph::{Graph, Node, stages};
use crate::op::Op;

const ROW: f64 = 46.0;
const PANEL: f64 = 700.0;
const TOP: f64 = 112.0;

/// Draws the first layer on a GPU that does attention, and beside it on one that does experts where that is
/// another; on the critical path where there is a choice.
pub fn breakdown(e: &Evaluation, graph: &Graph) -> String {
    let of_layer = |op: &str| {
        let is = |node: &&Node| node.op == op && node.microbatch == 0;
        let on_path = e.critical_path.iter().map(|node| &graph.nodes[node.index()]).find(is);
        let node = on_path.or_else(|| graph.nodes.iter().find(is))?;
        Some((node.layer?, *node.gpus.first()?))
    };
    let mut panels: Vec<(u64, u32)> = [of_layer("qkv"), of_layer("res2")].into_iter().flatten().collect();
    panels.dedup();
    let mut svg = Svg::new(20.0 + PANEL * panels.len() as f64);
    svg.text([14.0, 24.0], 17.0, "b", &format!("{}: one layer, step by step", graph.name));
    svg.text(
        [14.0, 42.0],
        11.0,
        "f",
        "time under the source of the evaluation; shapes of what is written, on this GPU",
    );
    legend(&mut svg);
    let levels = levels(graph);
    let mut bottom = TOP;
    for (i, (layer, gpu)) in panels.iter().enumerate() {
        bottom =
            f64::max(bottom, panel(&mut svg, e, graph, &levels, (*layer, *gpu), 20.0 + PANEL * i as f64));
    }
    svg.finish(bottom + 20.0, &graph.name)
}

fn panel(
    svg: &mut Svg,
    e: &Evaluation,
    graph: &Graph,
    levels: &[usize],
    (layer, gpu): (u64, u32),
    left: f64,
) -> f64 {
    // the way in belongs to the first layer's picture
    let enters = |i: usize| {
        let reads_it = |to: &Node| to.layer == Some(layer) && to.gpus.contains(&gpu);
        graph.nodes[i].kind == Some(Kind::Input)
            && graph.edges.iter().any(|edge| edge.from == i && reads_it(&graph.nodes[edge.to]))
    };
    let mut rows: Vec<usize> = (0..graph.nodes.len())
        .filter(|i| {
            let node = &graph.nodes[*i];
            let here = node.layer == Some(layer) && node.gpus.contains(&gpu);
            node.microbatch == 0 && (here || enters(*i))
        })
        .collect();
    rows.sort_by_key(|i| (levels[*i], *i));
    let stage = stages(graph).iter().position(|gpus| gpus.contains(&gpu)).unwrap_or(0);
    svg.text([left, TOP - 22.0], 12.0, "b", &format!("layer {layer} on GPU {gpu} (stage {stage})"));
    let y = |row: usize| TOP + ROW * row as f64;
    let (x, width) = (left + 130.0, 330.0);
    let mut lanes: Vec<Vec<(usize, usize)>> = Vec::new();
    let mut far: Vec<(usize, usize, String)> = Vec::new();
    for edge in &graph.edges {
        let at = |node: usize| rows.iter().position(|i| *i == node);
        let (Some(from), Some(to)) = (at(edge.from), at(edge.to)) else { continue };
        let names: Vec<&str> = edge.carries.iter().map(|(_, name)| name.as_str()).collect();
        let class = if names.is_empty() { "e s" } else { "e" };
        let [start, end] = [y(from) + 34.0, y(to)];
        if to == from + 1 {
            let middle = short(x + width / 2.0);
            let d = format!("M{middle} {}L{middle} {}", short(start), short(end));
            svg.path(&d, &format!("class=\"{class}\" marker-end=\"url(#a)\""));
            continue;
        }
        far.push((from, to, names.join(" ")));
    }
    // around what lies between: the shorter the closer, and no two over one another
    far.sort_by_key(|(from, to, _)| (to - from, *from));
    let (mut labelled, mut labels) = (std::collections::BTreeSet::new(), Vec::new());
    for (from, to, names) in far {
        let free = |lane: &Vec<(usize, usize)>| lane.iter().all(|(a, b)| to <= *a || *b <= from);
        let lane = lanes.iter().position(free).unwrap_or_else(|| {
            lanes.push(Vec::new());
            lanes.len() - 1
        });
        lanes[lane].push((from, to));
        let out = x - 16.0 - 11.0 * lane as f64;
        let [y1, y2] = [y(from) + 25.0, y(to) + 9.0];
        let [x0, out_x, bend] = [x, out, out + 6.0].map(short);
        let [from_y, down, up, to_y] = [y1, y1 + 6.0, y2 - 6.0, y2].map(short);
        let d = format!(
            "M{x0} {from_y}L{bend} {from_y}Q{out_x} {from_y} {out_x} {down}L{out_x} {up}Q{out_x} {to_y} {bend} \
             {to_y}L{x0} {to_y}"
        );
        let class = if names.is_empty() { "e s" } else { "e" };
        svg.path(&d, &format!("class=\"{class}\" marker-end=\"url(#a)\""));
        if labelled.insert((to, names.clone())) {
            labels.push((y2 - 3.0, names));
        }
    }
    for (y, names) in labels {
        svg.text([x - 12.0, y], 8.5, "r f h", &names);
    }
    for (row, i) in rows.iter().enumerate() {
        let node = &graph.nodes[*i];
        let kind = node.kind.unwrap_or(Kind::Join);
        svg.open(&format!("{}_p{gpu}", node.id), &node.id);
        let class = if e.critical_path.iter().any(|n| n.index() == *i) { "n c" } else { "n" };
        let wide = if node.gpus.len() > 1 { 16.0 } else { 0.0 };
        let place = [x - wide / 2.0, y(row), width + wide, 34.0];
        svg.rect(place, &format!("rx=\"4\" fill=\"{}\" class=\"{class}\"", kind.color()));
        let expert = node.expert.map_or(String::new(), |expert| format!(" {expert}"));
        svg.text([x + 8.0, y(row) + 15.0], 12.0, "b", &format!("{}{expert}", node.op));
        svg.text([x + 8.0, y(row) + 28.0], 10.0, "", &work(node));
        let seconds = e.timeline.durations[e.dag.work_column()[*i].index()];
        svg.text([x + width - 8.0, y(row) + 15.0], 11.0, "r", &three_seconds(seconds));
        if let Some(cut) = node.cut {
            svg.text([x + width - 8.0, y(row) + 28.0], 10.0, "r", &format!("cut by {}", cut.name()));
        }
        svg.close();
        let written: Vec<String> = node.writes.iter().map(|t| format!("{} {}", t.name, t.shape)).collect();
        for (line, text) in written.iter().enumerate() {
            svg.text([x + width + 16.0, y(row) + 12.0 + 12.0 * line as f64], 10.0, "f", text);
        }
    }
    y(rows.len())
}

/// The ops of a node in a few words.
pub fn work(node: &Node) -> String {
    let one = |(op, count): &(Op, u64)| {
        let text = match op {
            Op::Gemm(g) if g.batch > 1 => format!("Get_Time_batched({}, {}, {}, {})", g.batch, g.m, g.k, g.n),
            Op::Gemm(g) => format!("Get_Time({}, {}, {})", g.m, g.k, g.n),
            Op::Kernel(k) => format!("{} {}×{}", k.kind.name(), k.rows, k.cols),
            other => other.to_string(),
        };
        if *count > 1 { format!("{count} × {text}") } else { text }
    };
    node.ops.iter().map(one).collect::<Vec<_>>().join(" + ")
}
