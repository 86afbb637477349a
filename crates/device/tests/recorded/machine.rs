//! Builds a recorded machine from its description, see `machines/README.md`.

use std::path::{Path, PathBuf};

/// A machine's `/sys`, `/proc`, `/run` and `/dev` in a folder that goes with it.
pub(crate) struct RecordedMachine {
    folder: tempfile::TempDir,
}

impl RecordedMachine {
    pub(crate) fn build(description: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut builder = Builder {
            root: folder.path(),
            at: folder.path().to_path_buf(),
            text: None,
        };
        for (index, line) in description.lines().enumerate() {
            assert!(builder.line(line).is_some(), "line {}: {line}", index + 1);
        }
        Self { folder }
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }
}

struct Builder<'a> {
    root: &'a Path,
    at: PathBuf,
    text: Option<PathBuf>,
}

impl Builder<'_> {
    fn line(&mut self, line: &str) -> Option<()> {
        if let Some(text) = line.strip_prefix("| ") {
            let path = self.text.as_ref()?;
            let before = std::fs::read_to_string(path).unwrap();
            std::fs::write(path, format!("{before}{text}\n")).unwrap();
            return Some(());
        }
        self.text = None;
        if line.is_empty() || line.starts_with('#') {
            return Some(());
        }
        match line.split_once(' ')? {
            ("block", path) => self.block(path)?,
            ("at", path) => self.enter(self.root.join(path)),
            ("holder", name) => {
                std::fs::create_dir_all(self.at.join("holders").join(name)).unwrap()
            }
            ("link", rest) => {
                let (name, target) = rest.split_once(" -> ")?;
                link(&self.root.join(name), target);
            }
            ("text", path) => {
                let path = self.root.join(path);
                write(&path, "");
                self.text = Some(path);
            }
            _ => {
                let (name, value) = line.split_once(" = ")?;
                write(&self.at.join(name), &format!("{value}\n"));
            }
        }
        Some(())
    }

    fn block(&mut self, path: &str) -> Option<()> {
        let name = Path::new(path).file_name()?.to_str()?;
        self.enter(self.root.join("sys").join(path));
        link(
            &self.root.join("sys/class/block").join(name),
            &format!("../../{path}"),
        );
        write(&self.root.join("dev").join(name.replace('!', "/")), "");
        Some(())
    }

    fn enter(&mut self, folder: PathBuf) {
        std::fs::create_dir_all(&folder).unwrap();
        self.at = folder;
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn link(path: &Path, target: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(target, path).unwrap();
}
