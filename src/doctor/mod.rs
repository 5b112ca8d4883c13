//! What is found on this machine, and what each missing thing would enable. It never fails: whatever cannot be
//! told is a finding, too.

mod gpu;
mod system;

/// One thing that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked for.
    pub name: String,
    /// What it is, or where; `None` where it is missing.
    pub found: Option<String>,
    /// What it would enable where it is missing; a remark, or nothing, where it is there.
    pub note: String,
}

impl Finding {
    fn there(name: &str, found: impl Into<String>) -> Self {
        Finding { name: name.to_owned(), found: Some(found.into()), note: String::new() }
    }

    fn missing(name: &str, would_enable: &str) -> Self {
        Finding { name: name.to_owned(), found: None, note: would_enable.to_owned() }
    }

    fn but(self, note: impl Into<String>) -> Self {
        Finding { note: note.into(), ..self }
    }
}

/// Findings under a heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// `processor`, `GPUs`, `libraries`, `several devices`.
    pub title: &'static str,
    /// In the order in which they are needed.
    pub findings: Vec<Finding>,
}

/// Looks at everything that measuring depends on.
pub fn examine() -> Vec<Topic> {
    let gpu = gpu::examine();
    let mut topics = vec![Topic { title: "processor", findings: system::processor() }];
    topics.extend(gpu);
    topics.push(Topic { title: "several processes", findings: system::processes() });
    topics
}
