//! Libraries in the packages of a Python: where PyTorch keeps those that it was built with.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use libloading::Library;

/// Loads the first library of that name in a package of NVIDIA's, in the Python that would be run. Then the system's
/// loader knows it by its name too.
///
/// To be asked only where the loader knows no such library.
pub(super) fn load(name: &str) -> Option<Library> {
    let path = find(&prefixes(), name)?;
    // SAFETY: the initialisers of NVIDIA's libraries are made to be run by any program that loads them.
    #[allow(unsafe_code)]
    unsafe {
        Library::new(path).ok()
    }
}

/// The first file of that name in a package below one of the prefixes.
fn find(prefixes: &[PathBuf], name: &str) -> Option<PathBuf> {
    let folders = prefixes.iter().flat_map(|prefix| packages(prefix));
    let libraries = folders.flat_map(|folder| within(&folder.join("nvidia"), "lib"));
    libraries.map(|folder| folder.join(name)).find(|at| at.is_file())
}

/// Where a Python may be installed: the environment that is active, then that of `python3` on the path.
fn prefixes() -> Vec<PathBuf> {
    let active = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let programs = std::env::split_paths(&path).map(|folder| folder.join("python3")).find(|at| at.is_file());
    // As it is called, in an environment, and as it is, where it was installed.
    let programs = programs.into_iter().flat_map(|at| [Some(at.clone()), at.canonicalize().ok()]).flatten();
    let above = |at: PathBuf| at.parent().and_then(Path::parent).map(Path::to_path_buf);
    active.chain(programs.filter_map(above)).chain(["/usr/local".into()]).collect()
}

/// Folders of packages below a prefix: `lib/python3.12/site-packages`.
fn packages(prefix: &Path) -> Vec<PathBuf> {
    let is_python =
        |at: &PathBuf| at.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with("python3"));
    let pythons = children(&prefix.join("lib")).into_iter().filter(is_python);
    pythons.flat_map(|python| ["site-packages", "dist-packages"].map(|name| python.join(name))).collect()
}

/// The folders of that name in the folders within a folder.
fn within(folder: &Path, name: &str) -> Vec<PathBuf> {
    children(folder).into_iter().map(|child| child.join(name)).collect()
}

/// What a folder holds, in the order of names; nothing where it cannot be read.
fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut children: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    children.sort_unstable();
    children
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::find;

    #[test]
    fn a_library_of_a_package() {
        let prefix = tempfile::tempdir().unwrap();
        let folder = prefix.path().join("lib/python3.12/site-packages/nvidia/cudnn/lib");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("libcudnn.so.9"), "").unwrap();
        let prefixes = [prefix.path().to_path_buf()];
        assert_eq!(find(&prefixes, "libcudnn.so.9"), Some(folder.join("libcudnn.so.9")));
        assert_eq!(find(&prefixes, "libcublasLt.so.13"), None);
        assert_eq!(find(&[], "libcudnn.so.9"), None);
    }
}
