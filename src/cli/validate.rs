//! `evaluate validate`: a plan's share run for real beside what was predicted.

#[cfg(not(feature = "cpu"))]
use anyhow::bail;
use clap::Args;

use super::inputs::{AttentionArg, Format};
#[cfg(feature = "cpu")]
use super::inputs::{only_text_or_json, read_plan};

/// What to run, and against what.
#[derive(Args)]
pub(super) struct ValidateArgs {
    /// A built-in plan, or a plan file (.toml)
    pub plan: String,
    /// The table that predicts [default: the ops are measured here, in turn with the plan]
    #[arg(long, value_name = "FILE")]
    pub table: Option<std::path::PathBuf>,
    /// Layers to run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub layers: u64,
    /// The share of the batch, and then of the sequence, to run with: 1/16 or 0.06 [default: what runs in a second]
    #[arg(long, value_parser = fraction)]
    pub scale: Option<f64>,
    /// Rounds of measuring and running
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub rounds: u64,
    /// Whether the scores of attention are stored
    #[arg(long)]
    pub attention: Option<AttentionArg>,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Reads `1/16` or `0.0625`.
fn fraction(text: &str) -> Result<f64, String> {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    let value = match text.split_once('/') {
        Some((over, under)) => number(over).zip(number(under)).map(|(over, under)| over / under),
        None => number(text),
    };
    value
        .filter(|value| *value > 0.0 && *value <= 1.0)
        .ok_or_else(|| "a scale is above 0 and at most 1, such as 1/16".to_owned())
}

/// Runs the command on the processor.
#[cfg(feature = "cpu")]
pub(super) fn validate(args: &ValidateArgs) -> anyhow::Result<String> {
    use crate::dtype::Dtype;
    use crate::measure::Backend;
    use crate::measure::cpu::Cpu;
    use crate::report;
    use crate::source::Source;
    use crate::spec::AttentionMode;
    use crate::validate::{Order, validate};

    only_text_or_json(args.format)?;
    let plan = read_plan(&args.plan)?;
    let source = args.table.as_deref().map(|path| Source::from_tables(&[path], None)).transpose()?;
    let mut backend = Cpu::new(super::calibrate::SEED);
    backend.remarks().iter().for_each(|remark| eprintln!("remark: {remark}"));
    let attention = args.attention.map_or(plan.attention, |mode| match mode {
        AttentionArg::Fused => AttentionMode::Fused,
        AttentionArg::Unfused => AttentionMode::Unfused,
    });
    let order = Order {
        layers: args.layers,
        scale: args.scale,
        rounds: usize::try_from(args.rounds).unwrap_or(usize::MAX),
        dtype: Dtype::F32,
        attention,
    };
    let cost = source.as_ref().map(|source| source as &dyn crate::cost::Cost);
    let found = validate(&plan, &mut backend, cost, &order)?;
    Ok(match args.format {
        Format::Json => report::validation_json(&plan.name, &found)?,
        _ => report::validation(&plan.name, &backend.device().name, &found),
    })
}

/// Runs the command on the processor.
#[cfg(not(feature = "cpu"))]
pub(super) fn validate(_: &ValidateArgs) -> anyhow::Result<String> {
    bail!("this build has no processor backend; build it with --features cpu")
}
