//! Our own hypercalls: state in, registers out.

use shikiri_abi::{Call, PartitionId, Resource, Status};

use crate::account::Line;

/// What a call may look at of the caller's partition.
pub trait CallView {
    /// The partition's id.
    fn id(&self) -> PartitionId;

    /// How many vCPUs it has.
    fn vcpu_count(&self) -> u64;

    /// How often its name was started, this time included.
    fn starts(&self) -> u32;

    /// One line of its account.
    fn line(&self, resource: Resource) -> Line;
}

/// Answers a call that changes nothing: `x0` to `x3`. The others are carried out by the caller of this function.
#[must_use]
pub fn answer(call: Call, view: &impl CallView) -> [u64; 4] {
    match call {
        // PARTITION_END that was accepted does not return.
        Call::Null
        | Call::PartitionEnd(_)
        | Call::Request(_)
        | Call::RequestState
        | Call::RequestCancel
        | Call::Talk(_)
        | Call::Message(_)
        | Call::Shared(_)
        | Call::Object(_) => ok([0; 3]),
        Call::Feature(number) => ok([u64::from(Call::exists(number)), 0, 0]),
        Call::PartitionInfo => {
            ok([u64::from(view.id().0), view.vcpu_count(), u64::from(view.starts())])
        }
        Call::AccountRead(resource) => {
            let Line { limit, used, high } = view.line(resource);
            ok([limit.unwrap_or(u64::MAX), used, high])
        }
    }
}

const fn ok([x1, x2, x3]: [u64; 3]) -> [u64; 4] {
    [Status::Ok.code().cast_unsigned(), x1, x2, x3]
}

#[cfg(test)]
mod tests {
    use super::{CallView, answer};
    use crate::account::Line;
    use shikiri_abi::{Call, PartitionId, Resource};

    struct Caller;

    impl CallView for Caller {
        fn id(&self) -> PartitionId {
            PartitionId(7)
        }

        fn vcpu_count(&self) -> u64 {
            4
        }

        fn starts(&self) -> u32 {
            2
        }

        fn line(&self, resource: Resource) -> Line {
            if resource == Resource::Memory {
                Line { limit: Some(100), used: 50, high: 60 }
            } else {
                Line::default()
            }
        }
    }

    #[test]
    fn a_partition_reads_itself() {
        assert_eq!(answer(Call::PartitionInfo, &Caller), [0, 7, 4, 2]);
    }

    #[test]
    fn a_partition_reads_its_account_and_an_unset_limit_is_not_zero() {
        assert_eq!(answer(Call::AccountRead(Resource::Memory), &Caller), [0, 100, 50, 60]);
        assert_eq!(answer(Call::AccountRead(Resource::Devices), &Caller), [0, u64::MAX, 0, 0]);
    }

    #[test]
    fn the_feature_query_and_the_table_agree() {
        for number in 0..0x200 {
            let is_there = shikiri_abi::CALLS.iter().any(|row| u64::from(row.number) == number);
            assert_eq!(answer(Call::Feature(number), &Caller), [0, u64::from(is_there), 0, 0]);
        }
    }

    #[test]
    fn the_null_call_does_nothing() {
        assert_eq!(answer(Call::Null, &Caller), [0; 4]);
    }
}
