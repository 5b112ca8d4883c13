//! Robust least squares for a handful of parameters, and the Cholesky factor that it and the kriging need.

/// Residuals beyond this count by their size and not their square: a table has outliers of 30 % and more
/// where half of its points repeat within 2 %.
const SOFT_L1_SCALE: f64 = 0.05;

/// Factors the symmetric positive definite `n × n` matrix `a` (row-major, the lower triangle is read) in place
/// into its lower Cholesky factor. A pivot that rounding takes to 0 or below becomes `floor`.
pub fn cholesky(a: &mut [f64], n: usize, floor: f64) {
    for i in 0..n {
        let (done, rest) = a.split_at_mut(i * n);
        let row = &mut rest[..n];
        for j in 0..i {
            let other = &done[j * n..j * n + n];
            row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
        }
        row[i] = (row[i] - dot(&row[..i], &row[..i])).max(floor).sqrt();
    }
}

/// Solves `L·x = b` in place for the lower factor `l`.
pub fn forward(l: &[f64], n: usize, b: &mut [f64]) {
    for i in 0..n {
        b[i] = (b[i] - dot(&l[i * n..i * n + i], &b[..i])) / l[i * n + i];
    }
}

/// Solves `Lᵀ·x = b` in place for the lower factor `l`.
fn backward(l: &[f64], n: usize, b: &mut [f64]) {
    for i in (0..n).rev() {
        let below: f64 = (i + 1..n).map(|j| l[j * n + i] * b[j]).sum();
        b[i] = (b[i] - below) / l[i * n + i];
    }
}

/// The inner product, in four running sums so that it uses the vector unit.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_four, a_rest) = a.as_chunks::<4>();
    let (b_four, b_rest) = b.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (a, b) in a_four.iter().zip(b_four) {
        for lane in 0..4 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// The parameters that minimise `Σ ρ(residual) + prior_weight·Σ (parameter − start)²`, where ρ is the
/// soft L1 loss `2s²(√(1 + (r/s)²) − 1)`, by the method of Levenberg and Marquardt with a numeric Jacobian.
///
/// `residuals` writes the residuals of the parameters it is given. The search starts at `start`, the centre
/// of the prior, ends after `most_steps` steps, accepted or not, and never ends anywhere worse.
pub fn minimise(
    start: &[f64],
    prior_weight: f64,
    most_steps: usize,
    rows: usize,
    residuals: impl Fn(&[f64], &mut [f64]),
) -> Vec<f64> {
    let n = start.len();
    let loss = |parameters: &[f64], r: &[f64]| -> f64 {
        let data: f64 = r.iter().map(|r| soft_l1(*r)).sum();
        let prior: f64 = parameters.iter().zip(start).map(|(p, s)| (p - s) * (p - s)).sum();
        data + prior_weight * prior
    };
    let mut best = start.to_vec();
    let mut r = vec![0.0; rows];
    residuals(&best, &mut r);
    let mut best_loss = loss(&best, &r);
    let (mut jacobian, mut moved) = (vec![0.0; rows * n], vec![0.0; rows]);
    let mut damping = 1e-2;
    let mut stale = true;
    for _ in 0..most_steps {
        if stale {
            for j in 0..n {
                let step = 1e-3;
                let mut nudged = best.clone();
                nudged[j] += step;
                residuals(&nudged, &mut moved);
                for (i, cell) in jacobian[j * rows..(j + 1) * rows].iter_mut().enumerate() {
                    *cell = (moved[i] - r[i]) / step;
                }
            }
        }
        let step = damped_step(&jacobian, &r, &best, start, prior_weight, damping);
        let trial: Vec<f64> = best.iter().zip(&step).map(|(p, s)| p + s.clamp(-2.0, 2.0)).collect();
        residuals(&trial, &mut moved);
        let trial_loss = loss(&trial, &moved);
        stale = trial_loss < best_loss; // false for NaN: such a step is refused
        if stale {
            let gain = best_loss - trial_loss;
            best = trial;
            r.copy_from_slice(&moved);
            best_loss = trial_loss;
            damping = (damping * 0.3).max(1e-9);
            if gain < 1e-9 * best_loss {
                break;
            }
        } else {
            damping *= 4.0;
            if damping > 1e9 {
                break;
            }
        }
    }
    best
}

/// The step of `(JᵀWJ + λ·diag) δ = −JᵀWr`, with the weights W of the soft L1 loss and the prior among the rows.
fn damped_step(
    jacobian: &[f64],
    r: &[f64],
    at: &[f64],
    start: &[f64],
    prior_weight: f64,
    damping: f64,
) -> Vec<f64> {
    let (n, rows) = (at.len(), r.len());
    let column = |j: usize| &jacobian[j * rows..(j + 1) * rows];
    let weights: Vec<f64> = r.iter().map(|r| 1.0 / (1.0 + (r / SOFT_L1_SCALE).powi(2)).sqrt()).collect();
    let weighted = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).zip(&weights).map(|((a, b), weight)| a * b * weight).sum()
    };
    let mut normal = vec![0.0; n * n];
    let mut step = vec![0.0; n];
    for i in 0..n {
        for j in 0..=i {
            normal[i * n + j] = weighted(column(i), column(j));
        }
        normal[i * n + i] = (normal[i * n + i] + prior_weight) * (1.0 + damping);
        step[i] = -weighted(column(i), r) - prior_weight * (at[i] - start[i]);
    }
    cholesky(&mut normal, n, 1e-12);
    forward(&normal, n, &mut step);
    backward(&normal, n, &mut step);
    step
}

fn soft_l1(r: f64) -> f64 {
    let z = (r / SOFT_L1_SCALE).powi(2);
    2.0 * SOFT_L1_SCALE * SOFT_L1_SCALE * ((1.0 + z).sqrt() - 1.0)
}
