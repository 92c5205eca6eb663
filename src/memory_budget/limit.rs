//! Which limit of memory does the container have, and what is a number of bytes in the notation of Kubernetes?

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{DEFAULT, MIN};

/// The budget for a process with this limit, in bytes. The other half is for the objects that the caches
/// hold, and for the process itself.
#[must_use]
pub fn budget_for(limit: Option<u64>) -> u64 {
    limit.map_or(DEFAULT, |limit| (limit / 2).max(MIN))
}

/// The memory limit of the control groups that this process is in, in bytes. `None`: there is none.
#[must_use]
pub fn of_container() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    of_groups(&groups, Path::new("/sys/fs/cgroup"))
}

/// The smallest limit of a group and of those around it. `groups` is the text of `/proc/self/cgroup`. In a
/// container, the folder often begins at its own group although the text names the whole path.
fn of_groups(groups: &str, root: &Path) -> Option<u64> {
    groups.lines().filter_map(|line| of_group(line, root)).min()
}

fn of_group(line: &str, root: &Path) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
    let (base, file): (PathBuf, _) = match controllers {
        "" => (root.to_owned(), "memory.max"),
        _ if controllers.split(',').any(|it| it == "memory") => {
            (root.join("memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let own = base.join(group.trim_start_matches('/'));
    let around = own.ancestors().take_while(|folder| folder.starts_with(&base));
    around.filter_map(|folder| limit_in(&folder.join(file))).min()
}

/// The limit in a file. The first version of control groups says "none" by a number near 2^63.
fn limit_in(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok().filter(|limit| *limit < 1 << 60)
}

/// Parses a number of bytes in the notation of Kubernetes: `268435456`, `256Mi`, `1G`.
///
/// # Errors
/// It is not such a number, or less than [`MIN`]. The text is for users.
pub fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 8] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("k", 1000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
    ];
    let suffix = UNITS.iter().find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)));
    let (number, unit) = suffix.unwrap_or((text, 1));
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match bytes {
        None => Err("write a number of bytes as in 256Mi or 1Gi".to_owned()),
        Some(bytes) if bytes < MIN => Err(format!("the least is {}Mi", MIN >> 20)),
        Some(bytes) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_limit_is_that_of_the_group_or_of_one_around_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let limit = |groups: &str| of_groups(groups, root);
        assert_eq!(limit("0::/\n"), None);
        write(&root.join("pods/a/memory.max"), "max\n");
        assert_eq!(limit("0::/pods/a\n"), None);
        write(&root.join("pods/memory.max"), "536870912\n");
        assert_eq!(limit("0::/pods/a\n"), Some(512 << 20));
        write(&root.join("pods/a/memory.max"), "1000000\n");
        assert_eq!(limit("0::/pods/a\n"), Some(1_000_000));
        // In a container: its own group is the root of the folder.
        write(&root.join("memory.max"), "400000\n");
        assert_eq!(limit("0::/not/here\n"), Some(400_000));
    }

    #[test]
    fn the_limit_of_the_first_version_of_control_groups_is_read_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let groups = "5:cpu,cpuacct:/pod\n4:memory:/pod\n0::/\n";
        write(&root.join("memory/memory.limit_in_bytes"), "9223372036854771712\n");
        assert_eq!(of_groups(groups, root), None);
        write(&root.join("memory/pod/memory.limit_in_bytes"), "536870912\n");
        assert_eq!(of_groups(groups, root), Some(512 << 20));
    }

    #[test]
    fn half_of_the_limit_is_the_budget() {
        assert_eq!(budget_for(None), DEFAULT);
        assert_eq!(budget_for(Some(512 << 20)), 256 << 20);
        assert_eq!(budget_for(Some(1 << 20)), MIN);
    }

    #[test]
    fn bytes_have_the_notation_of_kubernetes() {
        assert_eq!(bytes("134217728"), Ok(128 << 20));
        assert_eq!(bytes("256Mi"), Ok(256 << 20));
        assert_eq!(bytes("1Gi"), Ok(1 << 30));
        assert_eq!(bytes("200M"), Ok(200_000_000));
        for wrong in ["", "Mi", "1.5Gi", "-1Gi", "256 Mi", "256MiB", "99999999999Ti", "127Mi"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
