//! Names: what Linux answers, and a map of paths as the reference.

use super::{ROOT, USER, at, files};
use crate::abi::fcntl::{O_CREAT, O_RDONLY, RENAME_NOREPLACE, S_IFDIR, S_IFLNK, W_OK, X_OK};
use crate::files::{Files, Place};
use crate::{Caller, Errno};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::format;
use std::string::String;

const EINVAL: Errno = Errno::EINVAL;

fn tree() -> Files {
    let mut files = files();
    for directory in ["/d", "/d/e", "/full", "/full/x"] {
        files.mkdir(&ROOT, at(directory), 0o777).unwrap();
    }
    files.made("/f", b"file");
    files.made("/d/g", b"other");
    files.symlink(&ROOT, b"d", at("/to-d")).unwrap();
    files.symlink(&ROOT, b"/f", at("/to-f")).unwrap();
    files.symlink(&ROOT, b"nowhere", at("/dangling")).unwrap();
    files
}

#[test]
fn a_path_leads_where_path_resolution_says() {
    let files = tree();
    let stat = |path: &str| files.stat(&ROOT, at(path), true).map(|stat| stat.node);
    let (root, d, f, g) = (stat("/"), stat("/d"), stat("/f"), stat("/d/g"));
    for (path, expected) in [
        ("/..", root),
        ("//d/./e/../..//d/", d),
        ("to-d/g", g),
        ("to-d/", d),
        ("to-f", f),
        ("d/../f", f),
        ("", Err(Errno::ENOENT)),
        ("f/", Err(Errno::ENOTDIR)),
        ("f/..", Err(Errno::ENOTDIR)),
        ("to-f/", Err(Errno::ENOTDIR)),
        ("none", Err(Errno::ENOENT)),
        ("none/x", Err(Errno::ENOENT)),
        ("dangling", Err(Errno::ENOENT)),
    ] {
        assert_eq!(stat(path), expected, "{path}");
    }
    let link = files.stat(&ROOT, at("to-d"), false).unwrap();
    assert_eq!((link.mode, link.bytes), (S_IFLNK | 0o777, 1));
}

#[test]
fn names_and_paths_have_their_longest() {
    let mut files = files();
    let name = "n".repeat(255);
    files.mkdir(&ROOT, at(&name), 0o777).unwrap();
    assert_eq!(files.mkdir(&ROOT, at(&(name + "n")), 0o777), Err(Errno::ENAMETOOLONG));
    assert!(files.stat(&ROOT, at(&"./".repeat(2047)), true).is_ok());
    assert_eq!(files.stat(&ROOT, at(&"./".repeat(2048)), true), Err(Errno::ENAMETOOLONG));
}

#[test]
fn forty_links_are_followed_and_not_one_more() {
    let mut files = super::Files::new(crate::Limits { nodes: 99, ..super::LIMITS });
    files.made("/l0", b"x");
    for number in 1..=41 {
        let (target, name) = (format!("l{}", number - 1), format!("/l{number}"));
        files.symlink(&ROOT, target.as_bytes(), at(&name)).unwrap();
    }
    assert!(files.stat(&ROOT, at("/l40"), true).is_ok());
    assert_eq!(files.stat(&ROOT, at("/l41"), true), Err(Errno::ELOOP));
    files.symlink(&ROOT, b"self/self", at("/self")).unwrap();
    assert_eq!(files.stat(&ROOT, at("/self"), true), Err(Errno::ELOOP));
}

#[test]
fn what_makes_names_refuses_as_linux_does() {
    let mut files = tree();
    for (path, expected) in [
        ("/d", Errno::EEXIST),
        ("/f", Errno::EEXIST),
        ("/", Errno::EEXIST),
        ("/d/.", Errno::EEXIST),
        ("/dangling", Errno::EEXIST),
        ("/dangling/", Errno::EEXIST),
        ("/f/", Errno::EEXIST),
        ("/none/x", Errno::ENOENT),
        ("/f/x", Errno::ENOTDIR),
    ] {
        assert_eq!(files.mkdir(&ROOT, at(path), 0o777), Err(expected), "mkdir {path}");
        assert_eq!(files.symlink(&ROOT, b"t", at(path)), Err(expected), "symlink {path}");
        assert_eq!(files.link(&ROOT, at("/d/g"), at(path), false), Err(expected), "link {path}");
    }
    assert_eq!(files.symlink(&ROOT, b"", at("/x")), Err(Errno::ENOENT));
    assert_eq!(files.symlink(&ROOT, b"t", at("/x/")), Err(Errno::ENOENT));
    assert_eq!(files.link(&ROOT, at("/d"), at("/x"), false), Err(Errno::EPERM));
    assert_eq!(files.mkdir(&ROOT, at("/x/"), 0o777), Ok(()));
    let made = files.stat(&ROOT, at("/x"), true).unwrap();
    assert_eq!((made.mode, made.links), (S_IFDIR | 0o755, 2));
}

#[test]
fn what_removes_names_refuses_as_linux_does() {
    let mut files = tree();
    for (path, unlinked, removed) in [
        ("/d", Errno::EISDIR, Errno::ENOTEMPTY),
        ("/f/", Errno::ENOTDIR, Errno::ENOTDIR),
        ("/none", Errno::ENOENT, Errno::ENOENT),
        ("/to-d/", Errno::ENOTDIR, Errno::ENOTDIR),
        ("/d/.", Errno::EISDIR, EINVAL),
        ("/d/e/..", Errno::EISDIR, Errno::ENOTEMPTY),
        ("/", Errno::EISDIR, Errno::EBUSY),
    ] {
        assert_eq!(files.unlink(&ROOT, at(path)), Err(unlinked), "unlink {path}");
        assert_eq!(files.rmdir(&ROOT, at(path)), Err(removed), "rmdir {path}");
    }
    assert_eq!(files.rmdir(&ROOT, at("/f")), Err(Errno::ENOTDIR));
    assert_eq!(files.unlink(&ROOT, at("/to-f")), Ok(()));
    assert_eq!(files.rmdir(&ROOT, at("/d/e/")), Ok(()));
    assert_eq!(files.contents("/f").unwrap(), b"file");
}

#[test]
fn rename_refuses_as_linux_does() {
    let mut files = tree();
    for (from, to, expected) in [
        ("/none", "/x", Errno::ENOENT),
        ("/f", "/none/x", Errno::ENOENT),
        ("/f", "/d", Errno::EISDIR),
        ("/d", "/f", Errno::ENOTDIR),
        ("/d", "/full", Errno::ENOTEMPTY),
        ("/d", "/d/e/x", EINVAL),
        ("/d", "/d/e", EINVAL),
        ("/d/e", "/d", Errno::ENOTEMPTY),
        ("/f", "/x/", Errno::ENOTDIR),
        ("/f/", "/x", Errno::ENOTDIR),
        ("/d/.", "/x", Errno::EBUSY),
        ("/f", "/", Errno::EBUSY),
        ("/to-d/", "/y", Errno::ENOTDIR),
        ("/f", "/to-d/", Errno::ENOTDIR),
        ("/d", "/to-f", Errno::ENOTDIR),
    ] {
        assert_eq!(files.rename(&ROOT, at(from), at(to), 0), Err(expected), "{from} {to}");
    }
    assert_eq!(files.rename(&ROOT, at("/f"), at("/x"), 2), Err(EINVAL));
    let replace = files.rename(&ROOT, at("/f"), at("/d/g"), RENAME_NOREPLACE);
    assert_eq!(replace, Err(Errno::EEXIST));
    assert_eq!(files.contents("/d/g").unwrap(), b"other");
}

#[test]
fn rename_moves_over_what_is_there() {
    let mut files = tree();
    files.rename(&ROOT, at("/f"), at("/d/g"), 0).unwrap();
    assert_eq!(files.contents("/d/g").unwrap(), b"file");
    assert_eq!(files.stat(&ROOT, at("/f"), true), Err(Errno::ENOENT));
    files.rename(&ROOT, at("/full"), at("/d/e"), 0).unwrap();
    assert!(files.stat(&ROOT, at("/d/e/x"), true).is_ok());
    let inner = files.enter(&ROOT, at("/d/e/x")).unwrap();
    assert_eq!(files.path_of(inner).unwrap(), b"/d/e/x");
    let up = Place { from: inner, path: b"../../g" };
    assert_eq!(files.stat(&ROOT, up, true).unwrap().bytes, 4);
    let links = |path: &str| files.stat(&ROOT, at(path), true).unwrap().links;
    assert_eq!((links("/d"), links("/d/e")), (3, 3));
    files.link(&ROOT, at("/d/g"), at("/same"), false).unwrap();
    files.rename(&ROOT, at("/d/g"), at("/same"), 0).unwrap();
    assert_eq!(files.stat(&ROOT, at("/d/g"), true).unwrap().links, 2);
}

#[test]
fn a_user_may_do_what_permissions_say() {
    let mut files = tree();
    files.chmod(&ROOT, at("/d"), 0o700).unwrap();
    assert_eq!(files.stat(&USER, at("/d/g"), true), Err(Errno::EACCES));
    files.chmod(&ROOT, at("/d"), 0o755).unwrap();
    assert_eq!(files.unlink(&USER, at("/d/g")), Err(Errno::EACCES));
    assert_eq!(files.mkdir(&USER, at("/d/x"), 0o777), Err(Errno::EACCES));
    assert_eq!(files.open(&USER, at("/d/x"), O_CREAT, 0o666), Err(Errno::EACCES));
    assert_eq!(files.access(&USER, at("/f"), W_OK), Err(Errno::EACCES));
    assert_eq!(files.access(&ROOT, at("/f"), X_OK), Err(Errno::EACCES));
    assert_eq!(files.access(&ROOT, at("/f"), 8), Err(EINVAL));
    assert_eq!(files.chmod(&USER, at("/f"), 0o777), Err(Errno::EPERM));
    assert_eq!(files.chown(&USER, at("/f"), true, Some(5), None), Err(Errno::EPERM));
    assert_eq!(files.truncate(&USER, at("/f"), 0), Err(Errno::EACCES));
    assert_eq!(files.set_times(&USER, at("/f"), true, [Some(1), None]), Err(Errno::EPERM));
}

#[test]
fn in_tmp_everyone_removes_what_is_theirs() {
    let mut files = files();
    let other = Caller { user: 9, ..USER };
    let id = files.open(&USER, at("/tmp/x"), O_CREAT, 0o666).unwrap();
    files.release(id);
    assert_eq!(files.unlink(&other, at("/tmp/x")), Err(Errno::EPERM));
    assert_eq!(files.rename(&other, at("/tmp/x"), at("/tmp/y"), 0), Err(Errno::EPERM));
    assert_eq!(files.unlink(&USER, at("/tmp/x")), Ok(()));
}

#[test]
fn owners_modes_and_times_are_told_as_they_were_set() {
    let mut files = tree();
    files.chown(&ROOT, at("/f"), true, Some(5), None).unwrap();
    files.chmod(&USER, at("/f"), 0o4751).unwrap();
    files.set_times(&USER, at("/f"), true, [None, Some(7)]).unwrap();
    let stat = files.stat(&ROOT, at("/f"), true).unwrap();
    assert_eq!((stat.user, stat.group, stat.mode & 0o7777), (5, 0, 0o4751));
    assert_eq!((stat.read_ns, stat.written_ns), (9_000_000_000, 7));
}

#[test]
fn a_directory_that_was_removed_is_nowhere() {
    let mut files = tree();
    let open = files.opened("/d/e", O_RDONLY).unwrap();
    let e = files.directory(open).unwrap();
    files.rmdir(&ROOT, at("/d/e")).unwrap();
    let inside = Place { from: e, path: b"x" };
    assert_eq!(files.mkdir(&ROOT, inside, 0o777), Err(Errno::ENOENT));
    assert_eq!(files.rename(&ROOT, at("/f"), inside, 0), Err(Errno::ENOENT));
    assert_eq!(files.path_of(e), Err(Errno::ENOENT));
    assert_eq!(files.getdents64(open, &mut [0; 99]), Err(Errno::ENOENT));
    files.release(open);
    assert_eq!(files.stat(&ROOT, inside, true), Err(Errno::ENOENT));
    assert_eq!(files.contents("/f").unwrap(), b"file");
}

#[test]
fn names_and_bytes_end_where_the_limits_are_and_come_back() {
    let mut files = files();
    let full = |files: &mut Files| {
        let mut count = 0;
        while files.mkdir(&ROOT, at(&format!("/n{count}")), 0o777).is_ok() {
            count += 1;
        }
        count
    };
    let many = full(&mut files);
    assert_eq!(files.link(&ROOT, at("/dev/null"), at("/x"), false), Err(Errno::ENOSPC));
    assert_eq!(files.open(&ROOT, at("/x"), O_CREAT, 0o666), Err(Errno::ENOSPC));
    assert_eq!(files.statfs().free_nodes, 0);
    for number in 0..many {
        files.rmdir(&ROOT, at(&format!("/n{number}"))).unwrap();
    }
    assert_eq!(full(&mut files), many);
}

/// A map of paths: the reference.
#[derive(Debug, Default)]
struct Map(BTreeMap<String, Option<u8>>);

impl Map {
    fn is_directory(&self, path: &str) -> bool {
        path.is_empty() || self.0.get(path) == Some(&None)
    }

    fn parent(path: &str) -> &str {
        &path[..path.rfind('/').unwrap()]
    }

    /// Why nothing can be at this path.
    fn check(&self, path: &str) -> Result<(), Errno> {
        let mut above = Self::parent(path);
        let mut found = Ok(());
        while !above.is_empty() {
            match self.0.get(above) {
                Some(Some(_)) => found = Err(Errno::ENOTDIR),
                None => found = Err(Errno::ENOENT),
                Some(None) => {}
            }
            above = Self::parent(above);
        }
        found
    }

    fn is_empty(&self, path: &str) -> bool {
        !self.0.keys().any(|other| other.starts_with(&format!("{path}/")))
    }

    fn add(&mut self, path: &str, what: Option<u8>) -> Result<(), Errno> {
        self.check(path)?;
        if self.0.contains_key(path) {
            return Err(Errno::EEXIST);
        }
        self.0.insert(path.into(), what);
        Ok(())
    }

    fn remove(&mut self, path: &str, is_directory: bool) -> Result<(), Errno> {
        self.check(path)?;
        match (self.0.get(path), is_directory) {
            (None, _) => return Err(Errno::ENOENT),
            (Some(None), false) => return Err(Errno::EISDIR),
            (Some(Some(_)), true) => return Err(Errno::ENOTDIR),
            (Some(None), true) if !self.is_empty(path) => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        self.0.remove(path);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        self.check(from).and(self.check(to))?;
        let old = *self.0.get(from).ok_or(Errno::ENOENT)?;
        if old.is_none() && to.starts_with(&format!("{from}/")) {
            return Err(EINVAL);
        }
        if from == to {
            return Ok(());
        }
        match (old, self.0.get(to)) {
            (_, Some(None)) if from.starts_with(&format!("{to}/")) => return Err(Errno::ENOTEMPTY),
            (None, Some(None)) if !self.is_empty(to) => return Err(Errno::ENOTEMPTY),
            (None, Some(Some(_))) => return Err(Errno::ENOTDIR),
            (Some(_), Some(None)) => return Err(Errno::EISDIR),
            _ => {}
        }
        self.0.remove(to);
        let moved: std::vec::Vec<_> = self
            .0
            .iter()
            .filter(|(path, _)| *path == from || path.starts_with(&format!("{from}/")))
            .map(|(path, what)| (path.clone(), *what))
            .collect();
        for (path, what) in moved {
            self.0.remove(&path);
            self.0.insert(format!("{to}{}", &path[from.len()..]), what);
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Make(String, u8),
    Directory(String),
    Unlink(String),
    Rmdir(String),
    Rename(String, String),
}

fn step() -> impl Strategy<Value = Step> {
    let path = "(/[abc]){1,3}";
    prop_oneof![
        (path, any::<u8>()).prop_map(|(path, data)| Step::Make(path, data)),
        path.prop_map(Step::Directory),
        path.prop_map(Step::Unlink),
        path.prop_map(Step::Rmdir),
        (path, path).prop_map(|(from, to)| Step::Rename(from, to)),
    ]
}

proptest! {
    #[test]
    fn a_tree_is_a_map_of_paths(steps in prop::collection::vec(step(), 0..60)) {
        let (mut files, mut map) = (files(), Map::default());
        let free = files.statfs();
        for step in steps {
            let (answer, expected) = match &step {
                Step::Make(path, data) => {
                    let opened = files.opened(path, crate::abi::fcntl::O_CREAT | 0o201);
                    if let Ok(id) = opened {
                        files.write(id, None, &[*data]).unwrap();
                        files.release(id);
                    }
                    (opened.map(drop), map.add(path, Some(*data)))
                }
                Step::Directory(path) => (files.mkdir(&ROOT, at(path), 0o777), map.add(path, None)),
                Step::Unlink(path) => (files.unlink(&ROOT, at(path)), map.remove(path, false)),
                Step::Rmdir(path) => (files.rmdir(&ROOT, at(path)), map.remove(path, true)),
                Step::Rename(from, to) => (files.rename(&ROOT, at(from), at(to), 0), map.rename(from, to)),
            };
            prop_assert_eq!(answer, expected, "{:?}", step);
        }
        for (path, what) in &map.0 {
            prop_assert_eq!(map.is_directory(path), what.is_none());
            if let Some(data) = what {
                prop_assert_eq!(files.contents(path).unwrap(), [*data]);
            }
        }
        let now = files.statfs();
        prop_assert_eq!(free.free_nodes - now.free_nodes, map.0.len() as u64);
        let written = map.0.values().flatten().count() as u64;
        prop_assert_eq!(free.free_blocks - now.free_blocks, written);
    }
}
