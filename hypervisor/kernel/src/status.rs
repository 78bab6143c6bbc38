//! What the refusals of the layers below mean to a caller: the one place where they become status codes.

use abi::Status;
use device::Error;
use paging::{MapError, NewError, UnmapError};

use crate::memory::Refused;

/// A refusal that has a status code.
pub trait IntoStatus {
    /// Its status code.
    fn status(self) -> Status;
}

impl IntoStatus for Refused {
    fn status(self) -> Status {
        match self {
            Self::NotYours => Status::ACCESS_DENIED,
            Self::InUse => Status::OBJECT_IN_USE,
        }
    }
}

impl IntoStatus for NewError {
    fn status(self) -> Status {
        match self {
            Self::Shape => Status::FEATURE_UNAVAILABLE,
            Self::OutOfFrames => Status::INSUFFICIENT_MEMORY,
        }
    }
}

impl IntoStatus for MapError {
    fn status(self) -> Status {
        match self {
            Self::Misaligned | Self::OutOfRange | Self::Target | Self::Rights => {
                Status::INVALID_PARAMETER
            }
            Self::AlreadyMapped => Status::OBJECT_IN_USE,
            Self::OutOfFrames => Status::INSUFFICIENT_MEMORY,
        }
    }
}

impl IntoStatus for UnmapError {
    fn status(self) -> Status {
        match self {
            Self::Misaligned | Self::OutOfRange => Status::INVALID_PARAMETER,
            Self::OutOfFrames => Status::INSUFFICIENT_MEMORY,
        }
    }
}

impl IntoStatus for device::UnitFailed {
    fn status(self) -> Status {
        Status::OPERATION_FAILED
    }
}

impl IntoStatus for Error {
    fn status(self) -> Status {
        match self {
            Self::NoSuchDevice(_) | Self::NoSuchPin { .. } => Status::INVALID_DEVICE_ID,
            Self::NoSuchDomain(_) | Self::NoSuchInterrupt(_) | Self::NotMapped(_) => {
                Status::NOT_FOUND
            }
            Self::NoSuchLp(_) => Status::INVALID_LP_INDEX,
            Self::DomainExists(_)
            | Self::DomainInUse { .. }
            | Self::OwnsDevices { .. }
            | Self::PinInUse(_)
            | Self::AlreadyMapped(_) => Status::OBJECT_IN_USE,
            Self::NotOwner { .. } => Status::ACCESS_DENIED,
            Self::NotAssignable(..) | Self::NoHardware | Self::UnreachableLp(_) => {
                Status::FEATURE_UNAVAILABLE
            }
            Self::WrongState { .. } => Status::INVALID_DEVICE_STATE,
            Self::AlreadyInDomain { .. } => Status::DEVICE_ALREADY_IN_DOMAIN,
            Self::InsufficientMemory => Status::INSUFFICIENT_MEMORY,
            Self::BadRange(_) | Self::BadFrame(_) | Self::BadRights | Self::BadVector(_) => {
                Status::INVALID_PARAMETER
            }
            Self::OutOfDomains => Status::INSUFFICIENT_DEVICE_DOMAINS,
            Self::OutOfInterrupts | Self::OutOfVectors(_) | Self::Quota(_) => {
                Status::INSUFFICIENT_ROOT_MEMORY
            }
            Self::Refused(_) | Self::UnitFailed { .. } => Status::OPERATION_FAILED,
        }
    }
}
