//! Why a log cannot be used.

/// What is wrong with a log, in which file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {kind}\n  {}", .kind.remedy())]
pub struct ImportError {
    file: String,
    kind: Box<ImportErrorKind>,
}

impl ImportError {
    pub(super) fn new(file: &str, kind: ImportErrorKind) -> Self {
        ImportError { file: file.to_owned(), kind: Box::new(kind) }
    }

    /// What is wrong.
    pub fn kind(&self) -> &ImportErrorKind {
        &self.kind
    }
}

/// What is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportErrorKind {
    /// The text begins like JSON and is none.
    #[error("not JSON: {message}")]
    NotJson {
        /// What the parser says, with line and column.
        message: String,
    },
    /// JSON, but not that of nccl-tests.
    #[error("JSON without \"{missing}\"")]
    OtherJson {
        /// A key that every file of nccl-tests has.
        missing: &'static str,
    },
    /// There is no table of results in it.
    #[error("no results of nccl-tests in it")]
    NoResults,
    /// The log does not say which collective it is about.
    #[error("it does not say which collective was measured")]
    WhichCollective,
    /// A test that is none of the collectives of a plan.
    #[error("{name} is none of all_reduce, all_gather, reduce_scatter, all_to_all, broadcast")]
    OtherTest {
        /// The test's name.
        name: String,
    },
    /// The log does not say how many ranks or nodes took part.
    #[error("it does not say how many {what} took part")]
    HowMany {
        /// `ranks` or `nodes`.
        what: &'static str,
    },
    /// What was given is not what the log says.
    #[error("--{option} {given} was given, and the log says {found}")]
    Contradiction {
        /// The option.
        option: &'static str,
        /// What was given.
        given: String,
        /// What the log says.
        found: String,
    },
    /// A group of one, or more nodes than ranks.
    #[error("{ranks} ranks on {nodes} nodes are no group")]
    NoGroup {
        /// Ranks.
        ranks: u64,
        /// Nodes.
        nodes: u64,
    },
    /// Every row was left out.
    #[error("none of its {rows} rows can be used: {left_out}")]
    NoGoodRow {
        /// Rows read.
        rows: usize,
        /// Why they were left out.
        left_out: super::LeftOut,
    },
}

impl ImportErrorKind {
    /// What to do.
    pub fn remedy(&self) -> String {
        match self {
            ImportErrorKind::NotJson { .. } => "was the file cut? nccl-tests closes it when it ends".into(),
            ImportErrorKind::OtherJson { .. } => {
                "give the file that -J of nccl-tests wrote, or its text".into()
            }
            ImportErrorKind::NoResults => "give the output of all_reduce_perf and the like, its column line \
                                           included"
                .into(),
            ImportErrorKind::WhichCollective => {
                "say it: --collective all_reduce|all_gather|reduce_scatter|all_to_all|broadcast".into()
            }
            ImportErrorKind::OtherTest { .. } => "no op of a plan takes its time from this test".into(),
            ImportErrorKind::HowMany { what } => format!("say it: --{what} N"),
            ImportErrorKind::Contradiction { option, .. } => {
                format!("take --{option} out, or check the file")
            }
            ImportErrorKind::NoGroup { .. } => {
                "a collective needs two ranks, and no more nodes than ranks".into()
            }
            ImportErrorKind::NoGoodRow { .. } => {
                "measure again with validation (-c 1) and sizes above 0".into()
            }
        }
    }
}
