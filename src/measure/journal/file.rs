//! The file of a journal: a line for what the run is, and a line for each op measured, on disk when it is known.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::event::Event;
use crate::bounded;
use crate::device::{Cluster, Device};
use crate::table::{Difference, Table};

/// The format that this version writes.
const FORMAT: &str = "gettime-journal-1";

/// How long a line may wait in the system's memory until it is on the disk. It survives this program at once, and
/// the machine after so long.
const PERIOD: Duration = Duration::from_secs(2);

/// What a run is: only the same one can go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    format: String,
    /// Of this program.
    version: String,
    /// The command line, as the table's header has it.
    command: String,
    device: Device,
    cluster: Cluster,
}

impl Run {
    /// The run that will write `table`.
    pub fn of(table: &Table) -> Run {
        let word =
            |key: &str| table.run.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        Run {
            format: FORMAT.to_owned(),
            version: word("version"),
            command: word("command"),
            device: table.device.clone().unwrap_or_default(),
            cluster: table.cluster.clone(),
        }
    }

    /// The first thing in which `self` is another run than `other`.
    fn difference(&self, other: &Run) -> Option<Difference> {
        let table = |run: &Run| Table { device: Some(run.device.clone()), ..Table::default() };
        let uuid = |run: &Run| run.device.details.get("uuid").map(ToString::to_string).unwrap_or_default();
        let words = |what: &str, first: &str, second: &str| {
            (first != second).then(|| Difference {
                what: what.to_owned(),
                first: first.to_owned(),
                second: second.to_owned(),
            })
        };
        let of_device = table(self).differences(&table(other)).into_iter().next();
        of_device
            .or_else(|| words("device uuid", &uuid(self), &uuid(other)))
            .or_else(|| words("cluster", &format!("{:?}", self.cluster), &format!("{:?}", other.cluster)))
            .or_else(|| words("version", &self.version, &other.version))
            .or_else(|| words("command", &self.command, &other.command))
    }
}

/// Why a journal cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error(
        "{file} is being written by another calibrate\n  wait until it has ended, or choose another --out"
    )]
    Locked {
        /// The file.
        file: String,
    },
    /// There is one already, and it was not asked for.
    #[error(
        "{file} keeps {visits} measurements of a run that did not come to its end\n  go on with it:  {command} \
         --resume\n  or remove the file to begin anew"
    )]
    Unfinished {
        /// The file.
        file: String,
        /// Measurements in it.
        visits: usize,
        /// The command that wrote it.
        command: String,
    },
    /// It is of another run.
    #[error(
        "{file} is of another run: {} {:?} there, {:?} here\n  only the same run can go on:  {command} --resume\n  \
         or remove the file to begin anew",
        difference.what, difference.first, difference.second
    )]
    Another {
        /// The file.
        file: String,
        /// What differs.
        difference: Difference,
        /// The command that wrote it.
        command: String,
    },
    /// A line is not what it should be, and not the last one.
    #[error("{file}: line {line}: {why}\n  was it edited? Remove the file to begin anew")]
    Broken {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The system refuses.
    #[error("{file} cannot be kept: {why}\n  is the folder there, may you write to it, and is there room?")]
    System {
        /// The file.
        file: String,
        /// What the system says.
        why: io::Error,
    },
}

/// The file, locked for this process.
#[derive(Debug)]
pub(super) struct Lines {
    pub path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    length: u64,
    synced: Instant,
}

/// `table.csv.partial` for `table.csv`.
pub fn path_for(out: &Path) -> PathBuf {
    let mut name = OsString::from(out.as_os_str());
    name.push(".partial");
    name.into()
}

impl Lines {
    /// Opens the journal beside `out`: a new one, or with `resume` the one that is there, whose events it returns by
    /// line.
    pub fn open(out: &Path, run: &Run, resume: bool) -> Result<(Lines, Vec<Vec<Event>>), JournalError> {
        let path = path_for(out);
        let name = path.display().to_string();
        let failed = |why: io::Error| JournalError::System { file: name.clone(), why };
        let mut file =
            lock(&path).map_err(failed)?.ok_or_else(|| JournalError::Locked { file: name.clone() })?;
        let text = bounded::all(&mut file, bounded::WRITTEN_BY_PROGRAMS).map_err(failed)?;
        let (before, events, length) = read(&text, &name)?;
        let mut lines = Lines { path, file, length, synced: Instant::now() };
        match before {
            Some(before) if !events.is_empty() && !resume => {
                Err(JournalError::Unfinished { file: name, visits: events.len(), command: before.command })
            }
            Some(before) if !events.is_empty() => match before.difference(run) {
                None => {
                    lines.file.set_len(length).map_err(failed)?; // without what was torn
                    Ok((lines, events))
                }
                Some(difference) => {
                    Err(JournalError::Another { file: name, difference, command: before.command })
                }
            },
            _ => {
                lines.length = 0;
                lines.append(run).map_err(failed)?;
                Ok((lines, Vec::new()))
            }
        }
    }

    /// Appends one line; after an error the file is as it was before.
    pub fn append<T: Serialize>(&mut self, line: &T) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        if let Err(error) = self.file.write_all(&text) {
            let _ = self.file.set_len(self.length); // a torn line would be recognised, too
            return Err(error);
        }
        self.length += text.len() as u64;
        if self.synced.elapsed() > PERIOD {
            self.file.sync_data()?;
            self.synced = Instant::now();
        }
        match is_at(&self.file, &self.path) {
            true => Ok(()),
            false => Err(io::Error::other("it was removed or replaced by another program")),
        }
    }

    /// Takes the file away.
    pub fn remove(self) {
        if is_at(&self.file, &self.path) {
            // that it is still there does no harm: the table is whole, and so is this
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The file open and locked, and still the one of that name; `None` where another process has it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            // not every file system can; then two runs are not told apart
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if is_at(&file, path) {
            return Ok(Some(file)); // and not one that its owner removed meanwhile
        }
    }
}

/// Whether the open file is the one of that name.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let place = |meta: fs::Metadata| (meta.dev(), meta.ino());
        match (file.metadata(), fs::metadata(path)) {
            (Ok(ours), Ok(there)) => place(ours) == place(there),
            _ => false,
        }
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

/// The run, the events of each line, and the bytes of all whole lines.
type Contents = (Option<Run>, Vec<Vec<Event>>, u64);

/// What a file holds; its last line may be torn.
fn read(text: &[u8], name: &str) -> Result<Contents, JournalError> {
    let broken =
        |line: usize, why: &str| JournalError::Broken { file: name.to_owned(), line, why: why.to_owned() };
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut run: Option<Run> = None;
    let (mut events, mut length) = (Vec::new(), 0);
    let lines: Vec<&[u8]> = text[..whole].split_inclusive(|byte| *byte == b'\n').collect();
    for (number, line) in (1..).zip(&lines) {
        let is_last = number == lines.len();
        match &run {
            None => match serde_json::from_slice::<Run>(line) {
                Ok(first) if first.format == FORMAT => run = Some(first),
                Ok(first) => {
                    return Err(broken(number, &format!("the format {:?} is not known here", first.format)));
                }
                Err(error) => return Err(broken(number, &format!("it is no journal ({error})"))),
            },
            Some(_) => match serde_json::from_slice::<Vec<Event>>(line) {
                Ok(line) => events.push(line),
                // a machine that lost power may have kept the length of a line without its text
                Err(_) if is_last => break,
                Err(error) => return Err(broken(number, &error.to_string())),
            },
        }
        length += line.len() as u64;
    }
    Ok((run, events, length))
}
