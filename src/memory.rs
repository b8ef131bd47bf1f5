//! The memory that this process may use, the page cache of its files included: that of the machine,
//! or less, where a control group limits it.
//!
//! Linux: a process is in one control group of version 2, and in one of version 1 for memory; the
//! limits of all their ancestors hold. Elsewhere only the memory of the machine is known, and not
//! on all systems. Nothing here fails: what cannot be read is no limit.
//!
//! What the memory is used for is decided elsewhere: `Options::memory` sets a budget, searches
//! compare the file with it (`store/residency`).

use std::sync::OnceLock;

/// The budget for a handle that asks for `requested` bytes: as many, or all that there are.
pub(crate) fn budget_bytes(requested: Option<u64>) -> u64 {
    requested.unwrap_or_else(allowed_bytes)
}

/// The bytes of memory that this process may use, as far as that is known, when it first asks.
/// [`u64::MAX`] if nothing is known. A few reads of small files.
pub(crate) fn allowed_bytes() -> u64 {
    static ALLOWED: OnceLock<u64> = OnceLock::new();
    *ALLOWED.get_or_init(system::allowed_bytes)
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs;
    use std::path::{Path, PathBuf};

    /// Where control groups of one version are mounted, and what a group has there as its limit.
    struct Hierarchy {
        /// The folder of the group that is the root of the mount.
        folder: PathBuf,
        /// The path of that group.
        root: String,
        /// The files with limits.
        limits: &'static [&'static str],
    }

    /// The memory of version 2 is limited by `max`, and from `high` on slowed down until it does
    /// not grow. Version 1 has numbers near 2^63 for no limit.
    const VERSION_2: &[&str] = &["memory.max", "memory.high"];
    const VERSION_1: &[&str] = &["memory.limit_in_bytes"];

    pub(super) fn allowed_bytes() -> u64 {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let of_groups = limit(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        total(&read("/proc/meminfo")).unwrap_or(u64::MAX).min(of_groups.unwrap_or(u64::MAX))
    }

    /// The memory of the machine, by the text of `/proc/meminfo`.
    pub(super) fn total(meminfo: &str) -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kibibytes.checked_mul(1024)
    }

    /// The least limit of the control groups of a process, by the texts of its files in `/proc`.
    pub(super) fn limit(cgroup: &str, mountinfo: &str) -> Option<u64> {
        let groups = cgroup.lines().filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let is_memory = controllers.split(',').any(|controller| controller == "memory");
            let is_2 = number == "0" && controllers.is_empty();
            (is_memory || is_2).then_some((is_2, path))
        });
        groups.flat_map(|(is_2, path)| limits(&hierarchy(mountinfo, is_2)?, path)).min()
    }

    /// Where the groups of version 2 are mounted, or those of version 1 for memory.
    fn hierarchy(mountinfo: &str, is_2: bool) -> Option<Hierarchy> {
        mountinfo.lines().find_map(|line| {
            // Behind the dash: the type, the device, and the options of the file system.
            let (mount, system) = line.split_once(" - ")?;
            let (mut mount, mut system) = (mount.split(' ').skip(3), system.split(' '));
            let (root, folder) = (mount.next()?, mount.next()?);
            let (kind, options) = (system.next()?, system.nth(1)?);
            let is_it = match is_2 {
                true => kind == "cgroup2",
                false => kind == "cgroup" && options.split(',').any(|option| option == "memory"),
            };
            is_it.then(|| Hierarchy {
                folder: unescaped(folder).into(),
                root: unescaped(root),
                limits: if is_2 { VERSION_2 } else { VERSION_1 },
            })
        })
    }

    /// Spaces and the like are octal in `mountinfo`.
    fn unescaped(text: &str) -> String {
        [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
            .iter()
            .fold(text.to_owned(), |text, (code, sign)| text.replace(code, sign))
    }

    /// The limits of a group and of all above it that can be seen.
    fn limits(hierarchy: &Hierarchy, path: &str) -> Option<u64> {
        // In a container, only the groups from its own on may be mounted.
        let below = match hierarchy.root.as_str() {
            "/" => path,
            root => path.strip_prefix(root).unwrap_or("/"),
        };
        let folder = hierarchy.folder.join(below.trim_start_matches('/'));
        folder
            .ancestors()
            .take_while(|group| group.starts_with(&hierarchy.folder))
            .flat_map(|group| hierarchy.limits.iter().filter_map(|file| number(&group.join(file))))
            .min()
    }

    /// The number in a file. `None` for `max`, which is no limit.
    fn number(path: &Path) -> Option<u64> {
        fs::read_to_string(path).ok()?.trim().parse().ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    /// There is no way to tell without code of the system's own: a budget must be set.
    pub(super) fn allowed_bytes() -> u64 {
        u64::MAX
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::system::{limit, total};
    use super::*;

    /// Writes the limits of groups of a hierarchy that is mounted at `folder`.
    fn groups(folder: &Path, limits: &[(&str, &str)]) {
        for (file, limit) in limits {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, limit).unwrap();
        }
    }

    #[test]
    fn the_least_limit_of_all_groups_above_a_process_holds() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("with space"), folder.path().join("two"));
        groups(
            &one,
            &[
                ("memory.limit_in_bytes", "9223372036854771712\n"),
                ("a/memory.limit_in_bytes", "5000\n"),
                ("a/b/memory.limit_in_bytes", "7000\n"),
                ("a/b/c/memory.limit_in_bytes", "10\n"),
            ],
        );
        groups(
            &two,
            &[
                ("x/memory.max", "max\n"),
                ("x/memory.high", "6000\n"),
                ("x/y/memory.max", "8000\n"),
                ("z/memory.max", "4000\n"),
            ],
        );
        let mounts = |root: &str| {
            let one = one.to_str().unwrap().replace(' ', "\\040");
            format!(
                "22 1 0:5 / /proc rw shared:3 - proc proc rw\n\
                 31 1 0:6 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                 32 1 0:7 {root} {one} rw,relatime shared:9 - cgroup cgroup rw,memory\n\
                 33 1 0:8 / {} rw - cgroup2 cgroup2 rw\n",
                two.display()
            )
        };
        let of = |one: &str, two: &str, root: &str| {
            limit(&format!("5:cpu:/q\n4:hugetlb,memory:{one}\n0::{two}\n"), &mounts(root))
        };
        assert_eq!(of("/a/b", "/q", "/"), Some(5000));
        assert_eq!(of("/a/b/c", "/q", "/"), Some(10));
        assert_eq!(of("/a", "/z", "/"), Some(4000));
        assert_eq!(of("/q", "/x/y", "/"), Some(6000));
        assert_eq!(of("/q", "/q", "/"), Some(9223372036854771712));
        // In a container, whose own group is the root of what is mounted.
        assert_eq!(of("/docker/1/a", "/q", "/docker/1"), Some(5000));
        assert_eq!(of("/elsewhere", "/q", "/docker/1"), Some(9223372036854771712));
        assert_eq!(limit("4:memory:/a\n0::/x\n", ""), None);
        assert_eq!(limit("nonsense", &mounts("/")), None);
    }

    #[test]
    fn a_machine_has_memory_and_a_request_replaces_it() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       24731708 kB\n"), Some(24_731_708 << 10));
        assert_eq!(total("MemTotal: much"), None);
        assert!((1 << 20..1 << 50).contains(&allowed_bytes()), "{}", allowed_bytes());
        assert_eq!(budget_bytes(Some(5)), 5);
        assert_eq!(budget_bytes(None), allowed_bytes());
    }
}
