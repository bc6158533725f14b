//! Status codes: what a hypercall answers in `x0`.

use core::fmt;

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// A hypercall's status. 0 and 1 are successes, negative ones refusals; ours start at −16 and are append-only.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Status { $($(#[$doc])* $name,)* }

        impl Status {
            /// Every status, in the order of the reference page.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The value in `x0`.
            #[must_use]
            pub const fn code(self) -> i64 {
                match self { $(Self::$name => $code,)* }
            }

            /// The status with this code, if there is one.
            #[must_use]
            pub const fn from_code(code: i64) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            /// One line for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

statuses! {
    /// Done.
    Ok = 0, "done";
    /// Accepted; the answer follows as an event.
    Pending = 1, "accepted, the answer follows as an event";
    /// No such call (SMCCC), or nothing for it here: a partition without places for areas, or for shared ones.
    NotSupported = -1, "no such call, or none here";
    /// An argument is out of its range, or a reserved one is not zero; `x1` = which.
    InvalidParameter = -3, "bad argument";
    /// The handle is stale, foreign or never was.
    BadHandle = -16, "bad handle";
    /// The caller lacks the right or the capability.
    NotPermitted = -17, "not permitted";
    /// The policy program refused.
    DeniedByPolicy = -18, "denied by policy";
    /// Right call, wrong moment.
    WrongState = -19, "wrong state";
    /// The area or frame is not the caller's.
    NotOwner = -20, "not the owner";
    /// The account's limit; `x1` = which resource.
    OverLimit = -21, "over the account's limit";
    /// The machine has no more memory.
    NoMemory = -22, "out of memory";
    /// Address or size out of range.
    Range = -23, "out of range";
    /// Address or size not aligned.
    Alignment = -24, "not aligned";
    /// Nothing there to take.
    Empty = -25, "empty";
    /// No room; an event comes when there is.
    Full = -26, "full";
    /// A bounded step was done; call again to go on.
    Again = -27, "call again";
    /// The peer refused.
    Refused = -28, "refused by the peer";
    /// The peer has ended or closed.
    PeerGone = -29, "peer gone";
    /// The name is taken.
    Exists = -30, "exists";
    /// No such name.
    NotFound = -31, "not found";
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn codes_are_unique_and_come_back() {
        for status in Status::ALL {
            assert_eq!(Status::from_code(status.code()), Some(*status));
        }
        assert_eq!(Status::from_code(-2), None);
    }
}
