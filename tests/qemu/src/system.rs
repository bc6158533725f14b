//! A system: a description, compiled into a bundle for one machine, ready to boot.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::machine::{Board, Boot, Machine};
use crate::paths;
use crate::running::Running;

use shikiri_describe::Seed;

pub use shikiri_describe::Overrides;

/// Where the seeds of a system's partitions come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seeding {
    /// There are none.
    None,
    /// From the host's generator, at each compilation.
    Random,
    /// The same each time.
    Fixed,
}

/// A system description and what the command line changes in it.
#[derive(Debug, Clone)]
pub struct System {
    file: PathBuf,
    overrides: Overrides,
    /// The seeds that its partitions get.
    seeding: Seeding,
    /// The folder of a file that was made for this system alone.
    _folder: Option<Arc<tempfile::TempDir>>,
}

impl System {
    /// Finds a system by its name under `boards/*/systems/` and `tests/qemu/systems/`, or by the
    /// path of its file.
    ///
    /// # Errors
    /// There is no such file; the error lists the systems that exist.
    pub fn find(name: &str) -> Result<Self> {
        let is_path = name.ends_with(".toml") || name.contains('/');
        let file = match named(name) {
            _ if is_path => PathBuf::from(name),
            Err(_) if Path::new(name).is_dir() => PathBuf::from(name),
            found => found?,
        };
        if file.is_dir() {
            bail!("{} is a directory; a system description is a file", file.display());
        }
        if !file.is_file() {
            bail!("there is no file {}", file.display());
        }
        Ok(Self { file, overrides: Overrides::default(), seeding: Seeding::None, _folder: None })
    }

    /// The same among one board's own systems.
    ///
    /// # Errors
    /// As [`System::find`].
    pub fn find_on(board: Board, name: &str) -> Result<Self> {
        let file = paths::root().join("boards").join(board.folder()).join("systems");
        let file = file.join(format!("{name}.toml"));
        if name.ends_with(".toml") || name.contains('/') || !file.is_file() {
            return Self::find(name);
        }
        Ok(Self { file, overrides: Overrides::default(), seeding: Seeding::None, _folder: None })
    }

    /// A system whose description is `text`; the file lives as long as the value.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn from_text(text: &str) -> Result<Self> {
        let folder = new_scratch()?;
        let file = folder.path().join("system.toml");
        std::fs::write(&file, text)?;
        Ok(Self {
            file,
            overrides: Overrides::default(),
            seeding: Seeding::None,
            _folder: Some(Arc::new(folder)),
        })
    }

    /// The same description for a machine of another board, whose own number of cores and memory then hold.
    ///
    /// # Errors
    /// The file cannot be read, or the new one not be written.
    pub fn moved_to(&self, board: Board) -> Result<Self> {
        let text =
            std::fs::read_to_string(&self.file).with_context(|| self.file.display().to_string())?;
        let moved = Self::from_text(&on_board(&text, board))?;
        Ok(Self { seeding: self.seeding, ..moved.with(self.overrides.clone()) })
    }

    /// Changes what the command line may change.
    #[must_use]
    pub fn with(mut self, overrides: Overrides) -> Self {
        self.overrides = overrides;
        self
    }

    /// Gives each partition a seed for its random numbers, another one at each compilation. What is measured or compared is not
    /// seeded: the bundle is then the same each time.
    #[must_use]
    pub fn seeded(mut self) -> Self {
        self.seeding = Seeding::Random;
        self
    }

    /// Gives each partition a seed that is the same each time: for runs that are to be the same, of guests that wait for one.
    #[must_use]
    pub fn seeded_alike(mut self) -> Self {
        self.seeding = Seeding::Fixed;
        self
    }

    /// The description's file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The machine that the description asks for, with QEMU's defaults for the rest.
    ///
    /// # Errors
    /// The description cannot be read; the error points at the line.
    pub fn machine(&self) -> Result<Machine> {
        let facts = shikiri_describe::machine(&self.file).map_err(|report| explain(&report))?;
        if Board::named(&facts.board) == Some(Board::Rpi4) {
            return Ok(Machine::rpi4());
        }
        let mut machine = Machine::new().cpus(facts.cores).memory(facts.memory_bytes);
        machine = match facts.gic {
            Some(2) => machine.gic(crate::Gic::V2),
            Some(_) | None => machine.gic(crate::Gic::V3),
        };
        Ok(machine)
    }

    /// Compiles the description for `machine`.
    ///
    /// # Errors
    /// The description is wrong; the error points at the line and names both claimants.
    pub fn compile(&self, machine: &Machine) -> Result<shikiri_describe::Compiled> {
        self.compile_for(machine.device_tree()?)
    }

    /// Compiles the description for the board of this device tree.
    ///
    /// # Errors
    /// As [`System::compile`].
    pub fn compile_for(&self, board_dtb: Vec<u8>) -> Result<shikiri_describe::Compiled> {
        let request = shikiri_describe::Request {
            file: self.file.clone(),
            board_dtb,
            image_dirs: vec![paths::guests()],
            overrides: self.overrides.clone(),
            seeds: seeds(self.seeding)?,
        };
        shikiri_describe::compile(&request).map_err(|report| explain(&report))
    }

    /// Boots the system on `machine` under the hypervisor.
    ///
    /// # Errors
    /// The description is wrong, an image is missing, or QEMU does not start.
    pub fn boot(&self, machine: &Machine) -> Result<Running> {
        boot(machine, &self.compile(machine)?.bundle, None)
    }
}

/// Boots a compiled system under the hypervisor; a copy of the console is written to `tee`.
///
/// # Errors
/// The hypervisor's image is missing, or QEMU does not start.
pub fn boot(
    machine: &Machine,
    bundle: &[u8],
    tee: Option<Box<dyn Write + Send>>,
) -> Result<Running> {
    let image = paths::hypervisor();
    if !image.is_file() {
        bail!("{} is missing: run `cargo xtask build`", image.display());
    }
    start(machine, image, bundle, tee)
}

/// A seed for each partition that there can be.
fn seeds(seeding: Seeding) -> Result<Vec<Seed>> {
    const SOURCE: &str = "/dev/urandom";
    let mut source: Box<dyn Read> = match seeding {
        Seeding::None => return Ok(Vec::new()),
        Seeding::Random => Box::new(std::fs::File::open(SOURCE).context(SOURCE)?),
        Seeding::Fixed => Box::new(Alike(1)),
    };
    let mut seed = || {
        let (mut rng, mut kaslr) = ([0; 32], [0; 8]);
        source.read_exact(&mut rng).and_then(|()| source.read_exact(&mut kaslr)).context(SOURCE)?;
        Ok(Seed { rng, kaslr: u64::from_ne_bytes(kaslr) })
    };
    (0..shikiri_describe::MAX_PARTITIONS).map(|_| seed()).collect()
}

/// Bytes that look random and are the same each time: the upper ones of a linear congruential generator (Knuth's MMIX).
struct Alike(u64);

impl Read for Alike {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        for byte in &mut *into {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
        Ok(into.len())
    }
}

/// A description's text with another board in its `[machine]`.
#[must_use]
pub fn on_board(text: &str, board: Board) -> String {
    let machine = format!("[machine]\nboard = \"{}\"", board.folder());
    let Some((before, rest)) = text.split_once("[machine]\n") else {
        return format!("{machine}\n\n{text}");
    };
    let rest = rest.find("\n\n").and_then(|end| rest.get(end..)).unwrap_or("\n");
    format!("{before}{machine}{rest}")
}

/// Starts the hypervisor's image with a bundle, which may also be one that it has to refuse.
///
/// # Errors
/// QEMU does not start.
pub fn start(
    machine: &Machine,
    image: PathBuf,
    bundle: &[u8],
    tee: Option<Box<dyn Write + Send>>,
) -> Result<Running> {
    let scratch = new_scratch()?;
    let file = scratch.path().join("bundle");
    std::fs::write(&file, bundle)
        .with_context(|| format!("{} cannot be written", file.display()))?;
    Running::start(machine, &Boot::Hypervisor { image, bundle: file }, Some(scratch), tee)
}

/// A folder for the files of one machine. What killed runs left behind is removed on the way: QEMU
/// has read its files when it runs, so an hour is long enough.
fn new_scratch() -> Result<tempfile::TempDir> {
    std::fs::create_dir_all(paths::scratch())?;
    for folder in entries(&paths::scratch())? {
        let age = folder.metadata().and_then(|data| data.modified()).map(|time| time.elapsed());
        if matches!(age, Ok(Ok(age)) if age > Duration::from_secs(3600)) {
            // Another run may have been faster.
            drop(std::fs::remove_dir_all(&folder));
        }
    }
    Ok(tempfile::tempdir_in(paths::scratch())?)
}

/// The rendered report, with its source lines and carets, as an error; the cross before it is left to whoever prints
/// the error.
fn explain(report: &miette::Report) -> anyhow::Error {
    let text = format!("{report:?}");
    let text = text.trim();
    anyhow::anyhow!("{}", text.strip_prefix("× ").unwrap_or(text))
}

/// The file of the system called `name`.
fn named(name: &str) -> Result<PathBuf> {
    let all = systems()?;
    let wanted = all.iter().find(|file| file.file_stem().is_some_and(|stem| stem == name));
    if let Some(file) = wanted {
        return Ok(file.clone());
    }
    let boards = paths::root().join("boards");
    let stems = all.iter().filter(|file| file.starts_with(&boards)).filter_map(|f| f.file_stem());
    let names: BTreeSet<_> = stems.map(|stem| stem.to_string_lossy().into_owned()).collect();
    let near = names.iter().min_by_key(|other| distance(name, other));
    let near = near.filter(|other| distance(name, other) <= 2);
    let meant = near.map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    bail!(
        "there is no system {name:?}{meant}; there are: {}; or write the path of a .toml file",
        names.join(", ")
    )
}

/// How many letters of one name have to be put in, left out or replaced to make it the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (place, against) in other.chars().enumerate() {
            let replaced = diagonal + usize::from(letter != against);
            diagonal = row[place + 1];
            row[place + 1] = replaced.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Every system description of the repository, sorted within its folder, the boards' first.
///
/// # Errors
/// The folders cannot be read.
pub fn systems() -> Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> =
        entries(&paths::root().join("boards"))?.iter().map(|board| board.join("systems")).collect();
    folders.push(paths::root().join("tests/qemu/systems"));
    let mut all = Vec::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        all.extend(
            entries(folder)?
                .into_iter()
                .filter(|file| file.extension().is_some_and(|extension| extension == "toml")),
        );
    }
    Ok(all)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = std::fs::read_dir(folder)
        .with_context(|| format!("the folder {} cannot be read", folder.display()))?;
    let mut paths = read.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_moved_to_another_board_by_its_machine_alone() {
        let text =
            "# C\n\n[machine]\ncores = 2\nmemory = \"3GiB\"\n\n[[partition]]\nname = \"a\"\n";
        let moved = "# C\n\n[machine]\nboard = \"rpi4\"\n\n[[partition]]\nname = \"a\"\n";
        assert_eq!(on_board(text, Board::Rpi4), moved);
        let text = "[[partition]]\nname = \"a\"\n";
        let moved = "[machine]\nboard = \"rpi4\"\n\n[[partition]]\nname = \"a\"\n";
        assert_eq!(on_board(text, Board::Rpi4), moved);
    }

    #[test]
    fn fixed_seeds_are_alike_and_differ_among_partitions() {
        let fixed = seeds(Seeding::Fixed).unwrap();
        assert_eq!(fixed, seeds(Seeding::Fixed).unwrap());
        assert!(fixed[0] != fixed[1] && fixed[0].rng[..8] != fixed[0].rng[8..16]);
        assert_ne!(seeds(Seeding::Random).unwrap(), seeds(Seeding::Random).unwrap());
        assert_eq!(seeds(Seeding::None).unwrap(), []);
    }

    #[test]
    fn a_name_that_is_not_there_is_answered_by_those_that_are() {
        let refusal = |name| System::find(name).unwrap_err().to_string();
        let (dmeo, nosuch) = (refusal("dmeo"), refusal("nosuch"));
        assert!(dmeo.starts_with("there is no system \"dmeo\" (did you mean \"demo\"?); there"));
        let listed = nosuch.strip_prefix("there is no system \"nosuch\"; there are: ").unwrap();
        let names: Vec<_> = listed.split(';').next().unwrap().split(", ").collect();
        assert!(names.is_sorted_by(|one, next| one < next), "each once: {names:?}");
        assert!(names.contains(&"two-linux") && !names.contains(&"stacks"), "{names:?}");
        assert_eq!(
            [distance("", "abc"), distance("abc", "axc"), distance("abcd", "bc")],
            [3, 1, 2]
        );
    }

    #[test]
    fn an_error_in_a_description_begins_with_what_is_wrong() {
        let system = System::from_text("[[partition]]\nnmae = \"x\"\n").unwrap();
        let error = system.machine().unwrap_err().to_string();
        assert!(error.starts_with("unknown field `nmae`"), "{error}");
        assert!(error.contains("system.toml:2:1"), "{error}");
        assert_eq!(error, error.trim());
    }
}
