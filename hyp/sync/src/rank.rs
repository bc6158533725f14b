//! The lock order of the hypervisor: one line per kind of lock.
//!
//! A core takes locks only in ascending order of [`Rank::LEVEL`]; among locks of one level only in ascending
//! order of their keys, or under the meeting's lock. Host builds with debug assertions check each acquisition (`order`); `hyp/doc/locking.md`
//! says what each lock protects.

/// The place of a kind of lock in the lock order.
pub trait Rank {
    /// Position in the order: locks with a higher level are taken later.
    const LEVEL: u8;
    /// What the lock protects, for the message when the order is broken.
    const NAME: &'static str;
}

macro_rules! ranks {
    ($($(#[$doc:meta])* $name:ident = $level:literal, $text:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub enum $name {}

            impl Rank for $name {
                const LEVEL: u8 = $level;
                const NAME: &'static str = $text;
            }
        )*

        /// All ranks of the hypervisor, in the order in which locks are taken: (level, name).
        pub const ORDER: &[(u8, &str)] = &[$(($level, $text)),*];
    };
}

ranks! {
    /// Decisions about the whole machine: start, end and restart of partitions, the operator's commands.
    Machine = 10, "machine";
    /// What the policy program's calls keep: notices, what was handed out, promised core time.
    Policy = 15, "policy";
    /// Waiting for a partition's lock with another's in hand.
    Meeting = 18, "meeting";
    /// One partition: lifecycle, vCPU states, virtual GIC, virtual UART. The key is the partition's slot.
    Partition = 20, "partition";
    /// One partition's stage-2 tables. The key is the partition's slot.
    Tables = 30, "stage-2 tables";
    /// Which named objects there are, and who opens and closes them.
    Names = 34, "names of objects";
    /// One named object. No two are held together.
    Object = 36, "named object";
    /// The frame ledger's bulk changes.
    Ledger = 40, "frame ledger";
    /// The pool of free frames.
    Pool = 50, "frame pool";
    /// One core's run queue, as far as other cores may look at it. The key is the core.
    RunQueue = 60, "run queue";
    /// The physical interrupt controller's shared registers.
    Gic = 70, "interrupt controller";
    /// The console multiplexer and the physical UART.
    Console = 80, "console";
    /// The boot log and the trace's control block: always the last.
    Log = 90, "log";
}

#[cfg(test)]
mod tests {
    use super::ORDER;

    #[test]
    fn levels_ascend_without_repetition() {
        assert!(ORDER.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
