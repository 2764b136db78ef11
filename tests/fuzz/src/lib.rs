//! A fuzzer for parsers and decoders that runs on stable Rust, inside ordinary tests.
//!
//! A target is a test that calls [`Fuzz::run`] with a function over bytes. The function panics
//! when a property does not hold, and returns what the input came to: an accepted value, or a kind
//! of error. An input with a new outcome joins the pool that later inputs are made from, in place
//! of the code coverage that a nightly compiler would report.
//!
//! The targets themselves are beside the code that they test: `src/fuzz.rs` of cgsandbox-helper
//! names them. Inputs worth keeping are in `corpus/TARGET/`, one file each, and run first.
//!
//! ```text
//! CGSANDBOX_FUZZ_SECONDS   how long each target runs; if not said, half a second with seed 1
//! CGSANDBOX_FUZZ_SEED      runs the same inputs again; a failure prints it
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod memory;
mod mutate;
mod random;

pub use random::Random;

use std::cell::Cell;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// An input that runs longer than this hangs: the whole run is aborted.
const HANG: Duration = Duration::from_secs(60);

/// How many inputs the pool holds besides the corpus.
const POOL: usize = 2000;

/// A target under construction.
#[derive(Debug)]
pub struct Fuzz {
    name: &'static str,
    words: Vec<Vec<u8>>,
    seeds: Vec<Vec<u8>>,
    longest: usize,
    cpu_time: Duration,
    memory: (usize, usize),
}

impl Fuzz {
    /// The target whose corpus is `corpus/NAME/`.
    pub fn target(name: &'static str) -> Self {
        Fuzz {
            name,
            words: Vec::new(),
            seeds: Vec::new(),
            longest: 16 << 10,
            cpu_time: Duration::from_secs(1),
            memory: (4 << 20, 64),
        }
    }

    /// Words of the format, to be put into inputs.
    pub fn words(mut self, words: &[&str]) -> Self {
        self.words.extend(words.iter().map(|word| word.as_bytes().to_vec()));
        self
    }

    /// Another input to begin with, beside the corpus.
    pub fn seed(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.seeds.push(input.into());
        self
    }

    /// The longest input, in bytes; 16 KiB if not said.
    pub fn longest(mut self, bytes: usize) -> Self {
        self.longest = bytes;
        self
    }

    /// The most memory that an input may take at one time: `base` bytes, and `factor` for each of
    /// its own. 4 MiB and 64, if not said.
    pub fn memory(mut self, base: usize, factor: usize) -> Self {
        self.memory = (base, factor);
        self
    }

    /// Runs `target` until the time is up. Panics at the first input that fails, with the seed and
    /// the smallest input found that fails as well.
    pub fn run<T: Hash>(self, target: impl Fn(&[u8]) -> T) {
        let variable = |name| std::env::var(name).ok();
        let seconds = variable("CGSANDBOX_FUZZ_SECONDS").map(|text| text.parse().unwrap());
        let seed = variable("CGSANDBOX_FUZZ_SEED").map(|text| text.parse().unwrap());
        let budget = Duration::from_secs_f64(seconds.unwrap_or(0.5));
        let any = || seconds.map_or(1, |_| clock_gettime(ClockId::Realtime).tv_nsec as u64);
        let seed = seed.unwrap_or_else(any);
        let start = Instant::now();
        let watch = Watch::start(self.name);
        let mut random = Random::new(seed);
        let mut pool = self.corpus();
        let mut outcomes = HashSet::new();
        let mut count: u64 = 0;
        let mut check = |input: &[u8]| {
            watch.look_at(input);
            count += 1;
            match self.attempt(&target, input) {
                Ok(outcome) => outcomes.insert(outcome),
                Err(why) => self.fail(&target, input, &why, seed),
            }
        };
        for input in &pool {
            check(input);
        }
        let kept = pool.len();
        while start.elapsed() < budget {
            let input = mutate::next(&mut random, &pool, &self.words, self.longest);
            if check(&input) {
                match pool.len() < kept + POOL {
                    true => pool.push(input),
                    false => {
                        let at = kept + random.below(POOL);
                        pool[at] = input;
                    }
                }
            }
        }
        let outcomes = outcomes.len();
        println!("fuzz {}: {count} inputs, {outcomes} outcomes, seed {seed}", self.name);
    }

    /// What the corpus and the test itself have to begin with, in the same order each time.
    fn corpus(&self) -> Vec<Vec<u8>> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name);
        let files = std::fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("no corpus in {}: {error}", directory.display()));
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        let files = files.iter().map(|file| std::fs::read(file).unwrap());
        files.chain(self.seeds.iter().cloned()).collect()
    }

    /// Runs one input: the hash of its outcome, or why it failed.
    fn attempt<T: Hash>(&self, target: impl Fn(&[u8]) -> T, input: &[u8]) -> Result<u64, String> {
        let (before, memory) = (cpu_time(), memory::Peak::start());
        let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
        let (took, peak) = (cpu_time().saturating_sub(before), memory.bytes());
        let outcome = outcome.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
            text.unwrap_or_default()
        })?;
        if took > self.cpu_time {
            return Err(format!("it takes {took:?} of CPU time"));
        }
        let (base, factor) = self.memory;
        if peak > base + factor * input.len() {
            return Err(format!("it takes {peak} bytes of memory for {}", input.len()));
        }
        let mut hasher = DefaultHasher::new();
        outcome.hash(&mut hasher);
        Ok(hasher.finish())
    }

    fn fail<T: Hash>(&self, target: impl Fn(&[u8]) -> T, input: &[u8], why: &str, seed: u64) -> ! {
        let fails = |input: &[u8]| quietly(|| self.attempt(&target, input).is_err());
        let smallest = mutate::shrink(input, fails);
        let path = keep(self.name, &smallest);
        panic!(
            "fuzz {}: {why}\nseed {seed}; the input, {} bytes, is in {}:\n{}",
            self.name,
            smallest.len(),
            path.display(),
            smallest.escape_ascii()
        );
    }
}

/// Writes an input that fails to `target/fuzz-failures/`.
fn keep(name: &str, input: &[u8]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let path = target.join("fuzz-failures").join(format!("{name}-{:016x}", hasher.finish()));
    std::fs::create_dir_all(target.join("fuzz-failures")).unwrap();
    std::fs::write(&path, input).unwrap();
    path
}

/// What this thread has used: unlike the time of day, not a matter of the machine's load.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `job` without a message for each panic of this thread.
fn quietly<T>(job: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                usual(panic);
            }
        }));
    });
    QUIET.set(true);
    let result = job();
    QUIET.set(false);
    result
}

/// Ends the process when an input hangs, and keeps that input.
struct Watch(Arc<Mutex<(Instant, Vec<u8>)>>);

impl Watch {
    fn start(name: &'static str) -> Self {
        let current = Arc::new(Mutex::new((Instant::now(), Vec::new())));
        let watched = Arc::downgrade(&current);
        std::thread::spawn(move || {
            while let Some(current) = watched.upgrade() {
                let (since, input) = current.lock().unwrap().clone();
                if since.elapsed() > HANG {
                    let path = keep(name, &input);
                    eprintln!("fuzz {name}: the input in {} hangs", path.display());
                    std::process::abort();
                }
                drop(current);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Watch(current)
    }

    fn look_at(&self, input: &[u8]) {
        let mut current = self.0.lock().unwrap();
        current.0 = Instant::now();
        current.1.clear();
        current.1.extend_from_slice(input);
    }
}
