//! The law of products on a GPU: the library chooses from a menu of tiles.

use super::constants::{Constants, STEP_BYTES};
use super::draw;
use super::features::{Coords, Features};
use super::least_squares::minimise;
use super::terms::Terms;

/// Rows of C that a tile covers.
const TILE_M: [f64; 8] = [8.0, 16.0, 32.0, 64.0, 96.0, 128.0, 192.0, 256.0];

/// Columns of C that a tile covers.
const TILE_N: [f64; 3] = [64.0, 128.0, 256.0];

/// Parts that k is split into, each in tiles of its own.
const SPLITS: [f64; 7] = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0];

/// More elements than this do not fit the registers of one multiprocessor.
const LARGEST_TILE: f64 = 32_768.0;

/// What a factor of e away from the start costs, in units of a squared log residual.
const PRIOR_WEIGHT: f64 = 0.02;

/// Beyond so many times as many places as tiles, more of them idle cost the memory no more.
const MOST_IDLE: f64 = 3.0;

/// Tiles of the menu, those that are not made too.
const TILES: usize = TILE_M.len() * TILE_N.len();

/// How long to search for the constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Rows to fit to, at most.
    pub rows: usize,
    /// Steps, at most.
    pub steps: usize,
}

impl Effort {
    /// For good.
    pub const FULL: Effort = Effort { rows: 500, steps: 40 };
    /// To see how well it would do.
    pub const TRIAL: Effort = Effort { rows: 250, steps: 20 };
}

/// `t = min over tiles tm × tn and splits s of t0 + (comp^q + mem^q)^(1/q) + [s > 1](r0 + 4·mns/rB)`, in µs, with
///
/// * `kb = ceil(k/(64·s))` steps (64 elements of 2 bytes), `w = ceil(m/tm)·ceil(n/tn)·s·batch/SMs` waves, of which
///   `W = w + λ·(ceil(w) − w)` count: tiles of the last wave share what else they would wait for,
/// * `comp = δ + γ·kb + W·(kb·max(α·tm·tn, β·(tm + tn)) + ε·tm·tn)`: a step is bound by the tensor cores or by
///   what feeds them, and at the end of each wave the tile is stored,
/// * `mem = bytes/B·(1 + μ·min(W/w − 1, 3))`, as idle multiprocessors ask for nothing, and the partial sums of a split
///   written and read once more,
/// * and long products slowed down by the clocks: `t·(1 + θ·min(1, comp/t)·clamp(log10(t/50 µs), 0, 1.5))`.
///
/// Steps of time where one more row starts one more wave are what a roofline misses. The constants are
/// positive and fitted in their logarithms; their starting ratios are those of an H200.
#[derive(Clone, Debug, PartialEq)]
pub struct Menu {
    constants: Constants,
    sms: f64,
    element_bytes: f64,
    /// Time of one step of each tile, infinite for those that are not made; of tiles of one height together.
    step: [[f64; TILE_N.len()]; TILE_M.len()],
}

/// The best item of the menu for a product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Its time in µs.
    pub micros: f64,
    /// Of these, arithmetic.
    pub comp: f64,
    /// The time of the memory traffic.
    pub mem: f64,
    /// Elements of a tile.
    pub tile: f64,
    /// Places of all waves over tiles: 1 where the last wave is full.
    pub idle: f64,
    /// Parts that k is split into.
    pub split: f64,
}

impl Menu {
    /// The menu nearest to the rows, which are products of one element type, on a device of `sms`
    /// multiprocessors. The search starts from the best rates of any row: those of a fitted roofline lead it astray
    /// where all rows are bound by arithmetic.
    pub fn fit(features: &[Features], logs: &[f64], sms: u64, effort: Effort) -> Menu {
        let element_bytes = features.first().map_or(2.0, element_bytes);
        let sms = sms.max(1) as f64;
        let rows = draw::rows(features.len(), effort.rows, 7);
        let sizes: Vec<[f64; 4]> = rows.iter().map(|row| sizes(&features[*row].coords)).collect();
        let start = Constants::start(&Terms::at_best(features, logs), sms, element_bytes);
        let found = minimise(&start, PRIOR_WEIGHT, effort.steps, rows.len(), |parameters, residuals| {
            let menu = Menu::new(Constants::from_logs(parameters), sms, element_bytes);
            for ((residual, row), sizes) in residuals.iter_mut().zip(&rows).zip(&sizes) {
                *residual = logs[*row] - (menu.choose(*sizes).micros * 1e-6).ln();
            }
        });
        Menu::new(Constants::from_logs(&found), sms, element_bytes)
    }

    fn new(constants: Constants, sms: f64, element_bytes: f64) -> Menu {
        let step = TILE_M.map(|tile_m| {
            TILE_N.map(|tile_n| {
                let fed = constants.per_edge * (tile_m + tile_n);
                let is_made = tile_m * tile_n <= LARGEST_TILE;
                if is_made { (constants.per_element * tile_m * tile_n).max(fed) } else { f64::INFINITY }
            })
        });
        Menu { constants, sms, element_bytes, step }
    }

    /// Multiprocessors of the device.
    pub const fn sms(&self) -> u64 {
        self.sms as u64
    }

    /// The seconds of a product by the menu.
    pub fn seconds(&self, product: &Features) -> f64 {
        self.at(&product.coords).micros * 1e-6
    }

    /// The best item of the menu for the product at `coords`.
    pub fn at(&self, coords: &Coords) -> Choice {
        self.choose(sizes(coords))
    }

    /// How much longer than the fastest each tile takes for the product at `coords`, in log seconds, with the best
    /// split of k: what a library that chooses otherwise would lose. 0 of tiles that are not made.
    pub fn rivals(&self, coords: &Coords) -> [f64; TILES] {
        let [m, k, n, batch] = sizes(coords);
        let mem = self.memory([m, k, n, batch]);
        let steps = k * self.element_bytes / STEP_BYTES;
        let mut times = [f64::INFINITY; TILES];
        for split in SPLITS {
            let kb = ceil(steps / split);
            if split > 1.0 && kb < 2.0 {
                continue;
            }
            let around = self.constants.launch + self.reduction(batch * m * n, split);
            let before = self.constants.prologue + self.constants.per_step * kb;
            for (place, time) in times.iter_mut().enumerate() {
                let (i, j) = (place / TILE_N.len(), place % TILE_N.len());
                let tiles = ceil(m / TILE_M[i]) * ceil(n / TILE_N[j]) * batch * split;
                let waves = self.waves(tiles);
                let comp = before + waves * self.wave(i, j, kb);
                *time = time.min(around + comp.max(mem * self.starved(waves, tiles)));
            }
        }
        let best = times.iter().copied().fold(f64::INFINITY, f64::min);
        times.map(|time| if time.is_finite() { (time / best).ln() } else { 0.0 })
    }

    /// The time of the memory traffic.
    fn memory(&self, [m, k, n, batch]: [f64; 4]) -> f64 {
        batch * (m * k + k * n + m * n) * self.element_bytes / self.constants.bandwidth
    }

    /// The time to add what the parts of k made of so many elements.
    fn reduction(&self, elements: f64, split: f64) -> f64 {
        let of = &self.constants;
        if split == 1.0 { 0.0 } else { of.split + 4.0 * elements * split / of.split_bandwidth }
    }

    /// The time of a wave of tiles of height i and width j, over `kb` steps.
    fn wave(&self, i: usize, j: usize, kb: f64) -> f64 {
        kb * self.step[i][j] + self.constants.per_stored * TILE_M[i] * TILE_N[j]
    }

    /// How many times longer than one tile so many take.
    fn waves(&self, tiles: f64) -> f64 {
        let full = tiles / self.sms;
        if full <= 1.0 { 1.0 } else { full + self.constants.last_wave * (ceil(full) - full) }
    }

    /// How many times longer the memory traffic of so many tiles takes as multiprocessors are idle in their `waves`.
    fn starved(&self, waves: f64, tiles: f64) -> f64 {
        1.0 + self.constants.idle_bytes * (waves * self.sms / tiles - 1.0).min(MOST_IDLE)
    }

    fn choose(&self, [m, k, n, batch]: [f64; 4]) -> Choice {
        let of = &self.constants;
        let mem = self.memory([m, k, n, batch]);
        let tiles_m = TILE_M.map(|tile| ceil(m / tile) * batch);
        let tiles_n = TILE_N.map(|tile| ceil(n / tile));
        let steps = k * self.element_bytes / STEP_BYTES;
        let mut best = Choice { micros: f64::INFINITY, comp: 0.0, mem, tile: 1.0, idle: 1.0, split: 1.0 };
        for split in SPLITS {
            let kb = ceil(steps / split);
            let reduce = self.reduction(batch * m * n, split);
            if split > 1.0 && kb < 2.0 || of.launch + mem + reduce >= best.micros {
                continue;
            }
            let (mut comp, mut tile, mut tiles, mut waves) = (f64::INFINITY, 1.0, 1.0, 1.0);
            for (i, tile_m) in TILE_M.into_iter().enumerate() {
                for (j, tile_n) in TILE_N.into_iter().enumerate() {
                    let of_size = tiles_m[i] * tiles_n[j] * split;
                    let waves_of_size = self.waves(of_size);
                    let time = waves_of_size * self.wave(i, j, kb);
                    if time < comp {
                        (comp, tile, tiles, waves) = (time, tile_m * tile_n, of_size, waves_of_size);
                    }
                }
            }
            comp += of.prologue + of.per_step * kb;
            let mem = mem * self.starved(waves, tiles);
            let idle = ceil(tiles / self.sms) * self.sms / tiles;
            let (longer, shorter) = (comp.max(mem), comp.min(mem));
            let q = of.sharpness;
            let work = longer * (1.0 + (shorter / longer).powf(q)).powf(1.0 / q);
            let micros = of.launch + work + reduce;
            if micros < best.micros {
                best = Choice { micros, comp, mem, tile, idle, split };
            }
        }
        let long = (best.micros / 50.0).log10().clamp(0.0, 1.5);
        best.micros *= 1.0 + of.throttle * (best.comp / best.micros).min(1.0) * long;
        best
    }
}

/// m, k, n and batch.
fn sizes(coords: &Coords) -> [f64; 4] {
    coords.map(|log| log.exp2().round())
}

/// Bytes of an element of a product.
pub fn element_bytes(product: &Features) -> f64 {
    let [m, k, n, batch] = sizes(&product.coords);
    (product.work[1] / (batch * (m * k + k * n + m * n))).round()
}

/// `f64::ceil` of a positive number; without SSE 4.1 that is a call of a function, and here are hundreds.
fn ceil(x: f64) -> f64 {
    if x < 4e18 {
        let whole = (x as i64) as f64;
        if whole < x { whole + 1.0 } else { whole }
    } else {
        x
    }
}
