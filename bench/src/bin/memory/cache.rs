//! What an earlier run has found, by name, so that a stopped run continues: one file of JSON each.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// See the module.
pub(crate) struct Cache(PathBuf);

impl Cache {
    pub(crate) fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        Self(folder.to_owned())
    }

    /// `None` if it was not found yet, or by a program that wrote something else.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.file(name)).ok()?).ok()
    }

    /// Writes it, whole or not at all.
    pub(crate) fn write(&self, name: &str, what: &impl Serialize) {
        let unfinished = self.file(name).with_extension("unfinished");
        let text = serde_json::to_vec_pretty(what).expect("JSON");
        fs::write(&unfinished, text).expect("to write what was found");
        fs::rename(unfinished, self.file(name)).expect("to rename a file");
    }

    /// What was found, or is found now.
    pub(crate) fn find<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        find: impl FnOnce() -> T,
    ) -> T {
        self.read(name).unwrap_or_else(|| {
            let found = find();
            self.write(name, &found);
            found
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.json"))
    }
}
