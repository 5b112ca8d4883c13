//! The critical path as a formula: products as `Get_Time`, everything else as a named time. `evaluate formula`
//! reads it back to the same sum under the same source.

use std::fmt::Write as _;

use crate::evaluate::Evaluation;
use crate::op::{Gemm, Op};
use crate::source::Source;

/// A term: what is added how often.
enum Term {
    Call(Gemm),
    /// A name, its time in seconds, and what it is.
    Named(String, f64, String),
}

/// The formula of one plan, with its definitions behind it.
pub fn path_formula(e: &Evaluation, source: &Source) -> String {
    let mut terms: Vec<(Op, String, Term, u64)> = Vec::new();
    for node in &e.critical_path {
        let name = e.dag.name_of(*node);
        let family = family(name);
        for (op, count) in &e.dag.work_of(*node).ops {
            if let Some((.., sum)) = terms.iter_mut().find(|(o, f, ..)| o == op && f == family) {
                *sum += count;
                continue;
            }
            let same = terms.iter().filter(|(_, f, term, _)| f == family && matches!(term, Term::Named(..)));
            let term = match op {
                Op::Gemm(gemm) => Term::Call(*gemm),
                _ => {
                    let number = same.count();
                    let name =
                        if number == 0 { family.to_owned() } else { format!("{family}_{}", number + 1) };
                    // it was priced when the plan was
                    let (seconds, basis) = priced(source, op);
                    Term::Named(name, seconds, format!("{op}, {basis}"))
                }
            };
            terms.push((*op, family.to_owned(), term, *count));
        }
    }
    let mut out =
        format!("// critical path of {}: {} ({})\n", e.plan.name, e.makespan().seconds, e.makespan().basis);
    let name = e.plan.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    // writing to a String does not fail
    let _ = writeln!(out, "T_{name} =");
    for (i, (_, family, term, count)) in terms.iter().enumerate() {
        let text = match term {
            Term::Call(g) if g.batch > 1 => {
                format!("Get_Time_batched({}, {}, {}, {})", g.batch, g.m, g.k, g.n)
            }
            Term::Call(g) => format!("Get_Time({}, {}, {})", g.m, g.k, g.n),
            Term::Named(name, ..) => name.clone(),
        };
        let plus = if i + 1 < terms.len() { " +" } else { "" };
        let remark = if matches!(term, Term::Call(_)) { format!("   // {family}") } else { String::new() };
        let _ = writeln!(out, "    {count} × {text}{plus}{remark}");
    }
    out.push('\n');
    for (.., term, _) in &terms {
        if let Term::Named(name, seconds, what) = term {
            // the shortest decimal that reads back as the same number
            let _ = writeln!(out, "{name} = {seconds} s   // {what}");
        }
    }
    out.push('\n');
    out
}

fn priced(source: &Source, op: &Op) -> (f64, String) {
    use crate::cost::Cost;
    source.cost(op).map_or((0.0, "not covered".to_owned()), |e| (e.seconds.get(), e.basis.to_string()))
}

/// `expert_up` for `expert_up_5`: experts of one size are one term.
fn family(name: &str) -> &str {
    match name.rsplit_once('_') {
        Some((family, number)) if number.bytes().all(|b| b.is_ascii_digit()) => family,
        _ => name,
    }
}
