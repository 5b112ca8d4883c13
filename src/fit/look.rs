//! What the residual of an op is told by: where it lies, and what its law knows of it.

use super::features::{Coords, DIMS};
use super::law::Law;
use super::neighbours::{POINT_DIMS, Point};
use super::trees::{TREE_DIMS, Traits};

/// What the residual of an op may depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// For the kriging, in scaled octaves.
    pub point: Point,
    /// For the trees.
    pub traits: Traits,
}

impl Look {
    /// Where the residual of `law` at `coords` lies, and what trees see of it. A menu adds what its choice tells:
    /// how long, how full the last wave, bound by arithmetic or memory, the tile; and whether rows are aligned.
    /// Their weights in the distance were chosen on the H200 table, where halving or doubling them changes the
    /// error by less than a twentieth; trees need none.
    pub fn of(law: &Law, coords: &Coords) -> Look {
        let (mut point, mut traits) = ([0.0; POINT_DIMS], [0.0; TREE_DIMS]);
        point[..DIMS].copy_from_slice(coords);
        traits[..DIMS].copy_from_slice(&coords.map(|log| log as f32));
        let Law::Menu(menu) = law else { return Look { point, traits } };
        let choice = menu.at(coords);
        let sizes = coords.map(|log| log.exp2().round());
        let aligned = sizes[0] % 16.0 == 0.0;
        let told = [
            choice.micros.log2(),
            2.0 * choice.idle.ln().clamp(0.0, 1.5),
            (choice.comp / choice.mem).clamp(0.125, 8.0).log2(),
            choice.tile.log2(),
            if aligned { 0.0 } else { 0.7 },
        ];
        point[0] *= 0.7;
        point[DIMS..].copy_from_slice(&told.map(|told| 0.7 * told));
        let [rows, depth, columns, batch] = sizes;
        let area = batch * rows * columns;
        let sms = menu.sms() as f64;
        let idle = |tile_m: f64, tile_n: f64| {
            let waves = ((rows / tile_m).ceil() * (columns / tile_n).ceil() * batch / sms).ceil();
            (waves * sms * tile_m * tile_n / area).ln()
        };
        // how often a size can be halved: what loads and tiles are made for
        let even = |size: f64| f64::from((size as u64).trailing_zeros().min(9));
        let further = [
            coords.iter().sum(),
            (batch * (rows * depth + depth * columns + rows * columns)).log2(),
            area.log2(),
            idle(128.0, 128.0),
            idle(128.0, 256.0),
            idle(64.0, 128.0),
            choice.split.log2(),
            idle(256.0, 128.0),
            idle(64.0, 64.0),
            coords[0] - coords[2],
            even(rows),
            even(depth),
            even(columns),
        ];
        for (place, told) in
            traits[DIMS..].iter_mut().zip(told[..4].iter().chain(&further).chain(&menu.rivals(coords)))
        {
            *place = *told as f32;
        }
        Look { point, traits }
    }
}
