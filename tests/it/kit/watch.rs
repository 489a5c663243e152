//! Waiting for what another program writes: the kernel tells of each change (inotify), nothing is asked again and again.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

/// A folder and all below it that is there when the watch begins.
pub struct Watch {
    news: Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    pub fn over(folder: &Path) -> Self {
        let (tell, news) = channel();
        let mut watcher = notify::recommended_watcher(move |_| {
            // Nobody waits any more: the test is at its end.
            let _ = tell.send(());
        })
        .unwrap();
        watcher.watch(folder, RecursiveMode::Recursive).unwrap();
        Self { news, _watcher: watcher }
    }

    /// What `ask` finds, asked now and after each change; panics with `what` after two minutes.
    pub fn until<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            if let Some(found) = ask() {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            self.news.recv_timeout(left).unwrap_or_else(|_| panic!("it did not come about that {what}"));
        }
    }
}

/// A Maildir that its owner finds ready, so that a watch stands on its folders before the first mail.
pub fn maildir(at: &Path, owner: u32, group: u32) -> PathBuf {
    std::fs::create_dir_all(at).unwrap();
    for folder in [at.to_owned(), at.join("tmp"), at.join("cur"), at.join("new")] {
        std::fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::chown(&folder, Some(owner), Some(group)).unwrap();
    }
    at.join("new")
}

/// The texts of all messages in a folder, once there are `count`.
pub fn messages(watch: &Watch, folder: &Path, count: usize) -> Vec<String> {
    watch.until(&format!("{count} messages are in {}", folder.display()), || {
        let files: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.filter_map(|f| Some(f.ok()?.path())).collect();
        let texts: Vec<String> = files.iter().filter_map(|f| std::fs::read_to_string(f).ok()).collect();
        (texts.len() >= count).then_some(texts)
    })
}
