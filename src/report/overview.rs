//! The deployment at a glance: stages and their GPUs, what they hold, what passes within and between them.

use std::collections::BTreeMap;

use super::svg::{CRITICAL, Svg, short};
use crate::dag::Kind;
use crate::evaluate::Evaluation;
use crate::graph::{Graph, Node, stages};
use crate::op::{Link, Op};
use crate::units::human_bytes;

const WIDTH: f64 = 1300.0;
const GPU: [f64; 2] = [62.0, 58.0];
const GAP: f64 = 92.0;
const TOP: f64 = 96.0;

/// Draws the stages from left to right, row after row.
pub fn overview(e: &Evaluation, graph: &Graph) -> String {
    let stages = stages(graph);
    let mut svg = Svg::new(WIDTH);
    svg.text([20.0, 28.0], 18.0, "b", &format!("{}: {}", e.plan.name, e.plan.title));
    let makespan = e.makespan();
    let line = format!(
        "{} ({}) · {} · GPUs {:.0} % busy · {} of weights and live tensors on the fullest GPU",
        makespan.seconds,
        makespan.basis,
        super::pieces(e),
        e.utilisation() * 100.0,
        human_bytes(e.fullest().peak_bytes)
    );
    svg.text([20.0, 48.0], 12.0, "f", &line);
    let key =
        "W weights · h heads · e experts · bar: memory at its peak, red where it is more than the GPU has";
    svg.text([20.0, 65.0], 10.0, "f", key);
    let lines: Vec<Vec<String>> = stages.iter().map(|gpus| within(graph, gpus)).collect();
    let most_lines = lines.iter().map(Vec::len).max().unwrap_or(0) as f64;
    let height = 44.0 + GPU[1] + 10.0 + 15.0 * most_lines + 8.0;
    let (mut x, mut y) = (86.0, TOP);
    let mut places = Vec::new();
    for gpus in &stages {
        // the words beneath need their width too
        let width = (GPU[0] * gpus.len() as f64 + 20.0).max(100.0);
        if x + width > WIDTH - 70.0 && !places.is_empty() {
            (x, y) = (86.0, y + height + 46.0);
        }
        places.push([x, y, width]);
        x += width + if stages.len() > 4 { 34.0 } else { GAP };
    }
    for (number, (gpus, [x, y, width])) in stages.iter().zip(&places).enumerate() {
        svg.rect([*x, *y, *width, height], "rx=\"8\" fill=\"#f6f7f9\" stroke=\"#9aa0a6\"");
        let layers = layers(graph, gpus);
        let title = match gpus.len() {
            1 => format!("stage {number}"),
            n => format!("stage {number} · {n} GPUs"),
        };
        svg.text([x + 10.0, y + 18.0], 12.0, "b", &title);
        svg.text([x + 10.0, y + 34.0], 11.0, "f", &layers);
        for (i, gpu) in gpus.iter().enumerate() {
            gpu_box(&mut svg, e, graph, *gpu, [x + 10.0 + GPU[0] * i as f64, y + 42.0]);
        }
        for (i, text) in lines[number].iter().enumerate() {
            let size = if *width < 200.0 { 8.0 } else { 10.5 };
            svg.text([x + 10.0, y + 44.0 + GPU[1] + 16.0 + 15.0 * i as f64], size, "", text);
        }
    }
    links(&mut svg, graph, &stages, &places, height);
    let bottom = places.iter().map(|[_, y, _]| y + height).fold(TOP, f64::max);
    svg.finish(bottom + 30.0, &e.plan.name)
}

/// `layers 0–7`, of the nodes on these GPUs.
fn layers(graph: &Graph, gpus: &[u32]) -> String {
    let mine = graph.nodes.iter().filter(|node| node.gpus.len() == 1 && gpus.contains(&node.gpus[0]));
    let layers: Vec<u64> = mine.filter_map(|node| node.layer).collect();
    match (layers.iter().min(), layers.iter().max()) {
        (Some(first), Some(last)) if first == last => format!("layer {first}"),
        (Some(first), Some(last)) => format!("layers {first}–{last}"),
        _ => "no layer".to_owned(),
    }
}

fn gpu_box(svg: &mut Svg, e: &Evaluation, graph: &Graph, gpu: u32, [x, y]: [f64; 2]) {
    let [width, height] = [GPU[0] - 6.0, GPU[1]];
    let holds = e.footprints.get(gpu as usize).copied().unwrap_or_default();
    let capacity = e.memory.map(|memory| memory.capacity_bytes);
    let full = capacity.map_or(0.0, |capacity| holds.peak_bytes as f64 / capacity as f64);
    let fits = full <= 1.0;
    svg.open(&format!("gpu{gpu}"), &format!("GPU {gpu}: {} at most", human_bytes(holds.peak_bytes)));
    svg.rect([x, y, width, height], "rx=\"4\" fill=\"#ffffff\" stroke=\"#9aa0a6\"");
    svg.text([x + width / 2.0, y + 15.0], 10.5, "m b", &format!("GPU {gpu}"));
    svg.text([x + width / 2.0, y + 29.0], 9.0, "m f", &format!("W {}", human_bytes(holds.weight_bytes)));
    let heads = graph.nodes.iter().find(|node| node.op == "qkv" && node.gpus == [gpu]);
    let experts = graph.nodes.iter().filter(|node| {
        node.op == "expert_up" && node.gpus == [gpu] && node.layer == Some(0) && node.microbatch == 0
    });
    let experts = experts.count();
    let heads = heads.and_then(|node| node.writes.first()?.shape.dims.get(2).copied());
    let text = match (heads, experts) {
        (Some(heads), 0) => format!("{heads} heads"),
        (Some(heads), n) => format!("{heads} h · {n} e"),
        (None, n) => format!("{n} experts"),
    };
    svg.text([x + width / 2.0, y + 41.0], 9.0, "m f", &text);
    let bar = [x + 5.0, y + 47.0, width - 10.0, 6.0];
    svg.rect(bar, "fill=\"#e3e5e8\"");
    let fill = if fits { "#5b8def" } else { CRITICAL };
    svg.rect([bar[0], bar[1], bar[2] * full.min(1.0), bar[3]], &format!("fill=\"{fill}\""));
    svg.close();
}

/// The collectives among these GPUs, with their size and number.
fn within(graph: &Graph, gpus: &[u32]) -> Vec<String> {
    let mut counts: BTreeMap<(String, Op), (u64, usize)> = BTreeMap::new();
    for node in graph.nodes.iter().filter(|node| node.kind == Some(Kind::Collective)) {
        if !node.gpus.iter().any(|gpu| gpus.contains(gpu)) {
            continue;
        }
        for (op, count) in &node.ops {
            let entry = counts.entry((node.op.clone(), *op)).or_default();
            *entry = (entry.0 + count, node.gpus.len());
        }
    }
    let line = |((name, op), (count, gpus)): ((String, Op), (u64, usize))| {
        let bytes = u64::try_from(op.bytes()).unwrap_or(u64::MAX);
        format!("{count} × {name}, {} over {gpus} GPUs", human_bytes(bytes))
    };
    counts.into_iter().map(line).collect()
}

/// Arrows between the stages, and from input and to output.
fn links(svg: &mut Svg, graph: &Graph, stages: &[Vec<u32>], places: &[[f64; 3]], height: f64) {
    let stage_of = |gpu: u32| stages.iter().position(|gpus| gpus.contains(&gpu));
    let mut sends: BTreeMap<(usize, usize), Vec<&Node>> = BTreeMap::new();
    for node in graph.nodes.iter().filter(|node| node.kind == Some(Kind::Send)) {
        let ends = (node.gpus.first().and_then(|gpu| stage_of(*gpu)), node.peer.and_then(stage_of));
        if let (Some(from), Some(to)) = ends {
            sends.entry((from, to)).or_default().push(node);
        }
    }
    let (Some([x, y, _]), Some([x2, y2, w2])) = (places.first(), places.last()) else { return };
    let arrow = "class=\"e\" style=\"stroke-width:1.6\" marker-end=\"url(#a)\"";
    let middle = y + height / 2.0;
    svg.text([x - 70.0, middle + 4.0], 12.0, "b", "input");
    svg.path(&format!("M{} {}H{}", short(x - 28.0), short(middle), short(x - 3.0)), arrow);
    let middle = y2 + height / 2.0;
    let end = x2 + w2;
    // where the last stage gives back to the first, the output leaves there: it is the last in time all the same
    svg.path(&format!("M{} {}H{}", short(end), short(middle), short(end + 22.0)), arrow);
    svg.text([end + 26.0, middle + 4.0], 12.0, "b", "output");
    for ((from, to), nodes) in sends {
        let ([x, y, w], [x2, y2, w2]) = (places[from], places[to]);
        let bytes = nodes.first().and_then(|node| node.ops.first()).map_or(0, |(op, _)| op.bytes());
        let bytes = human_bytes(u64::try_from(bytes).unwrap_or(u64::MAX));
        let crosses = |op: &Op| matches!(op, Op::P2p(p) if p.link == Link::InterNode);
        let inter = nodes.iter().any(|node| node.ops.iter().any(|(op, _)| crosses(op)));
        let where_to = if inter { "between nodes" } else { "in the node" };
        let ink =
            if inter { "style=\"stroke:#b35900;stroke-width:2\"" } else { "style=\"stroke-width:1.6\"" };
        let arrow = format!("class=\"e\" {ink} marker-end=\"url(#a)\"");
        if y == y2 {
            let middle = y + height / 2.0;
            svg.path(&format!("M{} {}H{}", short(x + w), short(middle), short(x2 - 2.0)), &arrow);
            if stages.len() <= 4 {
                let center = (x + w + x2) / 2.0;
                svg.text([center, middle - 20.0], 9.5, "m", &format!("{} ×", nodes.len()));
                svg.text([center, middle - 8.0], 9.5, "m", &bytes);
                svg.text([center, middle + 14.0], 9.0, "m f", where_to);
            }
        } else {
            let (x1, y1) = (x + w / 2.0, y + height);
            let (x3, y3) = (x2 + w2 / 2.0, y2);
            let bend = (y1 + y3) / 2.0;
            let [x1, y1, x3, y3, bend] = [x1, y1, x3, y3 - 2.0, bend].map(short);
            svg.path(&format!("M{x1} {y1}V{bend}H{x3}V{y3}"), &arrow);
        }
    }
    if stages.len() > 4 {
        let total = graph.nodes.iter().filter(|node| node.kind == Some(Kind::Send)).count();
        let (x, y) = (86.0, TOP - 18.0);
        svg.text([x, y], 11.0, "f", &format!("{total} sends from stage to stage; between nodes in orange"));
    }
}
