//! What the simulated kernel returns.

use serde::{Deserialize, Serialize};

use std::fmt;

/// An error of the simulated kernel. A value, never an exception: scenarios are *about* these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Errno {
    /// EPERM
    NotPermitted,
    /// ENOENT
    NoEntry,
    /// ESRCH
    NoProcess,
    /// EIO
    InputOutput,
    /// EINTR
    Interrupted,
    /// EAGAIN
    Again,
    /// ENOMEM
    NoMemory,
    /// EACCES
    Access,
    /// EFAULT
    Fault,
    /// EBUSY
    Busy,
    /// ENODEV
    NoDevice,
    /// EINVAL
    Invalid,
    /// ENOSPC
    NoSpace,
    /// EEXIST
    Exists,
    /// EFBIG
    TooBig,
    /// Whatever a scripted method returns: a positive errno, or a positive return value negated.
    Other(i32),
}

impl Errno {
    const ALL: [Errno; 15] = [
        Errno::NotPermitted,
        Errno::NoEntry,
        Errno::NoProcess,
        Errno::InputOutput,
        Errno::Interrupted,
        Errno::Again,
        Errno::NoMemory,
        Errno::Access,
        Errno::Fault,
        Errno::Busy,
        Errno::NoDevice,
        Errno::Invalid,
        Errno::NoSpace,
        Errno::Exists,
        Errno::TooBig,
    ];

    /// The positive number that Linux uses on x86-64.
    #[inline]
    pub const fn code(self) -> i32 {
        match self {
            Errno::NotPermitted => 1,
            Errno::NoEntry => 2,
            Errno::NoProcess => 3,
            Errno::Interrupted => 4,
            Errno::InputOutput => 5,
            Errno::Again => 11,
            Errno::NoMemory => 12,
            Errno::Access => 13,
            Errno::Fault => 14,
            Errno::Busy => 16,
            Errno::NoDevice => 19,
            Errno::Invalid => 22,
            Errno::NoSpace => 28,
            Errno::Exists => 17,
            Errno::TooBig => 27,
            Errno::Other(code) => code,
        }
    }

    /// The number as a kernel function returns it: negative.
    #[inline]
    pub const fn negative(self) -> i32 {
        -self.code()
    }

    /// The error with the positive number `code`, if the model knows it.
    pub fn from_code(code: i32) -> Option<Errno> {
        Errno::ALL.into_iter().find(|errno| errno.code() == code)
    }

    /// What a scripted method returned, other than 0. A positive number is no success either
    /// (migration 13).
    pub fn returned(value: i32) -> Errno {
        let code = value.wrapping_neg();
        Errno::from_code(code).unwrap_or(Errno::Other(code))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Errno::NotPermitted => "EPERM",
            Errno::NoEntry => "ENOENT",
            Errno::NoProcess => "ESRCH",
            Errno::Interrupted => "EINTR",
            Errno::InputOutput => "EIO",
            Errno::Again => "EAGAIN",
            Errno::NoMemory => "ENOMEM",
            Errno::Access => "EACCES",
            Errno::Fault => "EFAULT",
            Errno::Busy => "EBUSY",
            Errno::NoDevice => "ENODEV",
            Errno::Invalid => "EINVAL",
            Errno::NoSpace => "ENOSPC",
            Errno::Exists => "EEXIST",
            Errno::TooBig => "EFBIG",
            Errno::Other(code) => return write!(f, "errno {code}"),
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_is_found_again_by_its_number() {
        for errno in Errno::ALL {
            assert_eq!(Errno::from_code(errno.code()), Some(errno));
        }
        assert_eq!(Errno::from_code(0), None);
    }

    #[test]
    fn what_a_method_returned_reads_back_as_it_was() {
        assert_eq!(Errno::returned(-11), Errno::Again);
        assert_eq!(Errno::returned(-12), Errno::NoMemory);
        assert_eq!(Errno::returned(-71).negative(), -71);
        assert_eq!(Errno::returned(3).negative(), 3, "no error number, and no success");
    }
}
