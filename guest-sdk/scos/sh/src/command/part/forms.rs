//! What `part` does with its first word, in the order of its help.

use crate::command::Form;

pub(super) const FORMS: &[Form] = &[
    Form {
        words: &["list"],
        usage: "part list",
        page: "all partitions; a `*` marks the one that makes policy",
    },
    Form {
        words: &["show"],
        usage: "part show PARTITION",
        page: "everything about one, with its account; of one that was made, what of",
    },
    Form {
        words: &["images"],
        usage: "part images",
        page: "the files that `create` can take",
    },
    Form {
        words: &["create"],
        usage: "part create NAME image=FILE|kernel=FILE [initrd=FILE] [cmdline=WORDS] memory=SIZE[,SIZE[@ADDRESS] …] cores=CORES [vcpus=N] [kept_vcpus=N] [share=BUDGET/PERIOD] [priority=N] [console=yes|no] [handles=N] [requests=N] [areas=pages:N,…] [devices=OWNER:N,…] [kept_devices=OWNER:N,…] [x0=N] [RESOURCE_limit=LIMIT …]",
        page: "\
makes one of nothing and leaves it in state `created`. It runs FILE of the bundle: image= is a program without an operating system,
kernel= is Linux. initrd= is its RAM disk, cmdline='console=ttyAMA0 quiet' its command line; with one of the three it is
given a device tree of what it gets. Without share it owns its cores; with share=2ms/10ms each vCPU gets so much of every period,
on one of CORES; the last kept_vcpus are kept back until it asks for them. handles= and requests= are what it
needs to talk to others, and `chan permit` says to whom; areas= gives it places for areas: pages, blocks, giants, channels and
shared, as in a description (areas=pages:16,channels:2).
devices=clock:0 gives it the first device of `clock`, a partition of the description that has ended, until it is destroyed;
kept_devices= gives it such ones that it has to ask for, the first one as number 0.
memory=4M,8M@0x80000000 gives it two regions; what it runs lies in the first, at 0x40000000, and one without an address behind the
one before it. x0= is what it finds in that register if it is given no device tree.
RESOURCE_limit=LIMIT sets a limit first, as `part limit` does; without it core time, memory and devices are what it is given",
    },
    Form {
        words: &["start"],
        usage: "part start PARTITION",
        page: "starts one that is created or ended",
    },
    Form {
        words: &["pause"],
        usage: "part pause PARTITION",
        page: "its vCPUs stop where they are",
    },
    Form {
        words: &["resume"],
        usage: "part resume PARTITION",
        page: "its vCPUs go on",
    },
    Form {
        words: &["end", "stop"],
        usage: "part end PARTITION",
        page: "ends it: all that it owns goes back, and its peers are told. `stop` is the same",
    },
    Form {
        words: &["restart"],
        usage: "part restart PARTITION",
        page: "ends it and starts it again",
    },
    Form {
        words: &["destroy"],
        usage: "part destroy PARTITION",
        page: "forgets one that was made at run time and does not run",
    },
    Form {
        words: &["limit"],
        usage: "part limit PARTITION RESOURCE [AMOUNT|none]",
        page: "\
sets, unsets (none) or shows a limit of its account: core_time (150%), memory, management_memory, ipa_space (64M), event_ports, devices;
cache_colors and bus_share are recorded, and not enforced",
    },
    Form {
        words: &["log"],
        usage: "part log PARTITION",
        page: "shows what it wrote to its console last: up to 1,023 bytes are kept, also of its former lives",
    },
    Form {
        words: &["console"],
        usage: "part console PARTITION",
        page: "\
gives it the keyboard; what it says comes with its name before it. Ctrl-A and a number from 1 to 9, or n for the next one, takes the keyboard
elsewhere; Ctrl-A h shows the numbers",
    },
    Form {
        words: &["wait"],
        usage: "part wait PARTITION STATE [TIME]",
        page: "waits until it is in that state (created, active, paused, ended), at most TIME (default 10s): for scripts",
    },
];
