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
    /// Text that is no table.
    #[error("not CSV: {message}")]
    NotCsv {
        /// What the parser says, with the line.
        message: String,
    },
    /// What stands for a file that was not fetched.
    #[error("a pointer of Git LFS stands there, and not the table")]
    LfsPointer,
    /// A table, but neither of products nor of collectives.
    #[error("neither a gemm_perf nor an nccl_perf table: it has no column gemm_dtype or nccl_dtype")]
    OtherTable,
    /// A file that holds parquet, which this build does not read.
    #[error("parquet, which this build does not read")]
    NoParquet,
    /// Parquet that cannot be read.
    #[error("not parquet: {message}")]
    BadParquet {
        /// What the reader says.
        message: String,
    },
    /// A cell is not there.
    #[error("line {line} has no \"{column}\"")]
    NoCell {
        /// The line, or the row of a file without lines.
        line: u64,
        /// The column.
        column: &'static str,
    },
    /// A cell holds something else.
    #[error("line {line}: \"{text}\" is no value for \"{column}\"")]
    BadCell {
        /// The line, or the row of a file without lines.
        line: u64,
        /// The column.
        column: &'static str,
        /// What it holds.
        text: String,
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
            ImportErrorKind::NotCsv { .. } | ImportErrorKind::BadParquet { .. } => {
                "was the file cut? fetch it again".into()
            }
            ImportErrorKind::LfsPointer => "fetch it: git lfs pull".into(),
            ImportErrorKind::OtherTable => "give gemm_perf or nccl_perf of a system's folder".into(),
            ImportErrorKind::NoParquet => {
                "build with --features parquet, or write it as CSV: python3 -c \"import pandas, sys; \
                 pandas.read_parquet(sys.argv[1]).to_csv(sys.argv[2], index=False)\" FILE FILE.csv"
                    .into()
            }
            ImportErrorKind::NoCell { .. } | ImportErrorKind::BadCell { .. } => {
                "mend the line, or take it out".into()
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
