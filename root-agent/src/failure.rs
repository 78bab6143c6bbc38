//! Why a command did not do what it was told: a status for programs, a sentence for people.

use alloc::string::String;
use core::fmt;

use abi::Status;

/// A refused or failed command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// Name of a hypercall status, or one of the agent's own: USAGE, NOT_FOUND, EXISTS, BAD_IMAGE, BAD_STATE.
    pub status: &'static str,
    /// What is wrong and what was expected.
    pub sentence: String,
}

impl Failure {
    /// A failure with a status of the agent's own.
    pub fn new(status: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            status,
            sentence: sentence.into(),
        }
    }

    /// The words of the command are wrong.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::new("USAGE", sentence)
    }

    /// The command names something that does not exist.
    pub fn not_found(sentence: impl Into<String>) -> Self {
        Self::new("NOT_FOUND", sentence)
    }

    /// The thing is not in a state in which that can be done.
    pub fn state(sentence: impl Into<String>) -> Self {
        Self::new("BAD_STATE", sentence)
    }

    /// The hypervisor refused; `what` says what was tried.
    #[must_use]
    pub fn refused(status: Status, what: &str) -> Self {
        Self::new(
            status.name(),
            alloc::format!("the hypervisor refused {what}: {}", meaning(status)),
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// What a status says, in words.
fn meaning(status: Status) -> &'static str {
    match status {
        Status::ACCESS_DENIED => "the root partition has no right to it",
        Status::INVALID_PARAMETER => "a value is out of its range",
        Status::INVALID_PARTITION_STATE => "the partition is not in a state that allows it",
        Status::INVALID_PARTITION_ID => "there is no such partition",
        Status::INVALID_DEVICE_ID => "there is no such device",
        Status::INVALID_DEVICE_STATE => "the device is not in a state that allows it",
        Status::INSUFFICIENT_MEMORY => "the deposits of the partition are used up",
        Status::INSUFFICIENT_ROOT_MEMORY => "the hypervisor's own reserve is used up",
        Status::INSUFFICIENT_DEVICE_DOMAINS => "the remapping hardware has no domain left",
        Status::FEATURE_UNAVAILABLE => "the machine cannot do it",
        Status::OBJECT_IN_USE => "it is in use",
        Status::OPERATION_DENIED => "it is never allowed",
        Status::OPERATION_FAILED => "hardware did not answer",
        Status::NOT_FOUND => "there is no such thing",
        Status::NO_DATA => "there is nothing there",
        Status::INVALID_LP_INDEX => "there is no such logical processor",
        Status::INVALID_VP_INDEX => "there is no such virtual processor",
        Status::DEVICE_ALREADY_IN_DOMAIN => "the device is in a domain already",
        Status::INVALID_HYPERCALL_CODE => "this hypervisor has no such call",
        Status::TIME_OUT => "it took too long",
        _ => status.name(),
    }
}
