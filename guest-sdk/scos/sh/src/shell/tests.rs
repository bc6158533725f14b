//! The shell on a machine of the tests' own.

mod fake;
mod given;
mod keys;
mod pages;

use core::time::Duration;

use super::Shell;
use fake::{Fake, reference};
use shikiri_abi::{Resource, Status};
use shikiri_machine::{Boot, Cause, End, Line, Over, Phase, Refusal, Stand, Thing, What};

/// Runs a line: its result, and everything that was said.
fn say(fake: &mut Fake, line: &str) -> (i32, String) {
    let mut shell = Shell::new();
    let mut complaints = String::new();
    shell.run(line, fake, &mut |text| complaints = format!("{complaints}{text}\n"));
    (shell.result(), core::mem::take(&mut fake.written) + &complaints)
}

#[test]
fn partitions_are_listed() {
    let mut fake = Fake::new();
    let expected = "\
name   id  state   vCPUs  memory  starts  last end
scos*   1  active      1      2M       1
hello   2  ended       1      2M       1  code 3
";
    assert_eq!(say(&mut fake, "part list"), (0, expected.into()));
}

#[test]
fn one_is_shown_with_its_account_by_name_and_by_id() {
    let mut fake = Fake::new();
    let expected = "\
hello (id 2): ended, started once, last end: code 3
1 vCPU
from the description
resource           limit  used  highest
core_time              -  100%     100%
ipa_space              -    0K       0K
memory                4M    2M    2400K
management_memory      -    0K       0K
event_ports            -     0        0
devices                -     0        0
cache_colors           -     0        0  recorded, not enforced
bus_share              -    0%       0%  recorded, not enforced
";
    assert_eq!(say(&mut fake, "part show hello"), (0, expected.into()));
    assert_eq!(say(&mut fake, "part show '#2'"), (0, expected.into()));
    assert_eq!(say(&mut fake, "part show #2"), (0, expected.into()));
    let none = "part: there is no partition `#5`; there are #1 (scos), #2 (hello)\n";
    assert_eq!(say(&mut fake, "part show #5"), (1, none.into()));
    let none = "part: there is no partition `ghost`; there are scos, hello\n";
    assert_eq!(say(&mut fake, "part show ghost"), (1, none.into()));
}

#[test]
fn a_partition_is_made_started_and_ended() {
    let mut fake = Fake::new();
    let made = say(
        &mut fake,
        "part create w image=w.bin memory=4M cores=1-2 vcpus=2 share=2ms/10ms event_ports=5 memory_limit=8M",
    );
    assert_eq!(made, (0, "w has the id 3; `part start w` starts it\n".into()));
    assert_eq!(say(&mut fake, "part limit w memory"), (0, "8M\n".into()));
    assert_eq!(say(&mut fake, "part limit w event_ports"), (0, "5\n".into()));
    assert_eq!(say(&mut fake, "part start w"), (0, "w has the id 4 now\n".into()));
    let ended = say(&mut fake, "part pause w && part resume w && part stop w");
    assert_eq!(ended, (0, "w has ended\n".into()));
    assert_eq!(fake.partitions[2].phase, Phase::Ended);
    assert_eq!(say(&mut fake, "part destroy w"), (0, String::new()));
    assert_eq!(fake.partitions.len(), 2);
}

/// A partition whose device tree is loaded when it is built.
const LINUX: &str = "part create l kernel=w.bin initrd=a-very-long-name cmdline='console=ttyAMA0 quiet' memory=64M cores=1";

#[test]
fn linux_is_made_with_a_ram_disk_and_a_command_line_and_started_when_it_is_built() {
    let mut fake = Fake::new();
    assert_eq!(say(&mut fake, LINUX).0, 0);
    let made = &fake.made[0];
    assert_eq!((made.image.as_str(), made.boot), ("w.bin", Boot::Linux));
    assert_eq!(made.initrd.as_deref(), Some("a-very-long-name"));
    assert_eq!(made.cmdline.as_deref(), Some("console=ttyAMA0 quiet"));
    fake.during = vec![|_| {}, |fake| fake.partitions[2].phase = Phase::Held];
    assert_eq!(say(&mut fake, "part start l"), (0, "l has the id 4 now\n".into()));
    assert_eq!((fake.partitions[2].phase, fake.pauses), (Phase::Active, 2));
    // To be started again it is ended, and built and held again.
    fake.during = vec![|fake| fake.partitions[2].phase = Phase::Held];
    assert_eq!(say(&mut fake, "part restart l"), (0, "l has the id 5 now\n".into()));
    assert_eq!(fake.partitions[2].phase, Phase::Active);
}

#[test]
fn an_end_is_said_when_it_is_over_or_before_it_takes_the_shell() {
    let mut fake = Fake::new();
    fake.partitions[1].phase = Phase::Active;
    fake.ends_slowly = true;
    fake.during = vec![|_| {}, |fake| fake.partitions[1].phase = Phase::Ended];
    assert_eq!(say(&mut fake, "part end hello"), (0, "hello has ended\n".into()));
    assert_eq!(fake.pauses, 2);
    // Its restart policy has started it again meanwhile.
    fake.partitions[1].phase = Phase::Active;
    fake.during = vec![|fake| {
        fake.partitions[1].phase = Phase::Active;
        fake.partitions[1].id = reference(77);
    }];
    assert_eq!(say(&mut fake, "part end hello").1, "hello has ended\n");
    fake.partitions[1].phase = Phase::Active;
    assert_eq!(say(&mut fake, "part end hello").1, "hello is ending\n");
    let own = "scos is to end, and this shell with it; at the operator console (Ctrl-A c) `start scos` starts it again\n";
    assert!(say(&mut fake, "part end scos").1.starts_with(own));
}

#[test]
fn what_becomes_of_one_that_is_being_built_is_said() {
    let mut fake = Fake::new();
    assert_eq!(say(&mut fake, LINUX).0, 0);
    // The policy program was faster.
    fake.during = vec![|fake| fake.partitions[2].phase = Phase::Active];
    assert_eq!(say(&mut fake, "part start l").0, 0);
    assert_eq!(say(&mut fake, "part end l").0, 0);
    fake.during = vec![|fake| {
        fake.partitions[2].phase = Phase::Ended;
        fake.partitions[2].cause = Some(Cause::NotBuilt);
    }];
    let ended = say(&mut fake, "part start l");
    assert_eq!(ended, (1, "part: l has ended: not built\n".into()));
    let slow = say(&mut fake, "part start l");
    assert_eq!(slow, (1, "part: l is still building after 1m\n".into()));
}

#[test]
fn what_the_policy_program_does_to_one_that_is_started_counts() {
    let mut fake = Fake::new();
    assert_eq!(say(&mut fake, LINUX).0, 0);
    // It begins to build it, just before the shell would.
    fake.before = vec![|fake| fake.partitions[2].phase = Phase::Building];
    fake.during = vec![|fake| fake.partitions[2].phase = Phase::Held];
    assert_eq!(say(&mut fake, "part start l"), (0, String::new()));
    assert_eq!(fake.partitions[2].phase, Phase::Active);
    let runs = "part: l is active: only one that is created or ended can be started\n";
    assert_eq!(say(&mut fake, "part start l"), (1, runs.into()), "it runs before all that");
    // It lets it run, just before the shell would.
    fake.before = vec![|_| {}, |_| {}, |fake| fake.partitions[2].phase = Phase::Active];
    fake.during = vec![|fake| fake.partitions[2].phase = Phase::Held];
    assert_eq!(say(&mut fake, "part restart l"), (0, "l has the id 4 now\n".into()));
    assert_eq!((fake.partitions[2].phase, fake.before.len()), (Phase::Active, 0));
    // One that is being built already is waited for.
    fake.partitions[2].phase = Phase::Building;
    fake.during = vec![|fake| fake.partitions[2].phase = Phase::Held];
    assert_eq!(say(&mut fake, "part start l"), (0, String::new()));
    // One that is just going cannot be started.
    fake.partitions[2].phase = Phase::Ending;
    let goes = "part: l is ending: only one that is created or ended can be started\n";
    assert_eq!(say(&mut fake, "part start l"), (1, goes.into()));
}

#[test]
fn a_kernel_or_an_image_is_one_of_those_that_there_are() {
    let mut fake = Fake::new();
    for (line, result, text) in [
        ("kernel=v", 1, "part: there is no image `v`; there are w.bin, a-very-long-name\n"),
        ("kernel=w.bin initrd=v", 1, "part: there is no image `v`; there are"),
        ("kernel=w.bin image=w.bin", 2, "part: one image or one kernel\n"),
        ("initrd=w.bin", 2, "part: image= or kernel= is missing\n"),
    ] {
        let (is, said) = say(&mut fake, &format!("part create l memory=64M cores=1 {line}"));
        assert!(is == result && said.starts_with(text), "{line}: {is} {said}");
    }
}

#[test]
fn an_image_that_is_not_there_is_named_with_those_that_are() {
    let mut fake = Fake::new();
    assert_eq!(say(&mut fake, "part images").1, "w.bin\na-very-long-name\n");
    let text = "part: there is no image `v`; there are w.bin, a-very-long-name\n";
    assert_eq!(say(&mut fake, "part create w image=v memory=4M cores=1"), (1, text.into()));
    let long = say(&mut fake, "part create w image=a-very-long-name-and-more memory=4M cores=1");
    assert_eq!(long.0, 1, "{}", long.1);
}

#[test]
fn limits_are_set_and_unset() {
    let mut fake = Fake::new();
    assert_eq!(
        say(&mut fake, "part limit hello core_time 50%; part limit hello core_time").1,
        "50%\n"
    );
    assert_eq!(
        say(&mut fake, "part limit hello core_time none; part limit hello core_time").1,
        "none\n"
    );
    let (result, text) = say(&mut fake, "part limit hello memory lots");
    assert_eq!(result, 2);
    assert!(text.starts_with("part: `lots` is not a size of whole pages"), "{text}");
}

#[test]
fn a_refusal_names_the_rule() {
    let mut fake = Fake::new();
    fake.refuses = Some(Refusal {
        over: Some(Over::Handout(Resource::Memory)),
        ..Refusal::new("set a limit", Some(reference(2)), Status::OverLimit)
    });
    let text = "part: set a limit of partition 2: over what may be handed out of memory\n";
    assert_eq!(say(&mut fake, "part limit hello memory 1G"), (1, text.into()));
}

#[test]
fn what_is_missing_or_wrong_is_named_with_the_usage() {
    let mut fake = Fake::new();
    for (line, start) in [
        ("part create x", "part: image= or kernel= is missing\n"),
        ("part create x image=a kernel=b", "part: one image or one kernel\n"),
        ("part create x image=a memory=2M", "part: cores= is missing\n"),
        ("part create x image=a memory=2M cores=9-1", "part: `9-1` are no cores such as"),
        ("part create x image=a memory=2M cores=1 vcpus=0", "part: `0` vCPUs; 1 to 8"),
        ("part create x image=a memory=2M cores=1 share=2ms", "part: `2ms` is no share"),
        (
            "part create x image=a memory=2M cores=1 colour=red",
            "part: there is no key `colour`; there are image, kernel, initrd,",
        ),
        (
            "part create x image=a memory=2M cores=1 console=maybe",
            "part: console=`maybe`: yes or no",
        ),
        ("part create x image=a memory=2M cores=1 priority=256", "part: priority=`256`: 0 to 255"),
        ("part create x image=a memory=2M cores=1 handles=x", "part: handles=`x`: 0 to 65535 are"),
        ("part create x image=a memory=2M cores=1 kept_vcpus=1", "part: kept_vcpus=: 1 of 1 vCPUs"),
        (
            "part create x image=a memory=2M cores=1 requests=1",
            "part: requests=: without `handles`",
        ),
        (
            "part create x image=a memory=2M cores=1 areas=sheets:1",
            "part: areas=: there is no `sheets`",
        ),
        (
            "part create x image=a memory=2M cores=1 devices=3",
            "part: devices=: `3` is no device such",
        ),
        (
            "part create x image=a memory=2M cores=1 devices=c:1 kept_devices=c:1",
            "part: kept_devices=: `c:1` stands twice",
        ),
        (
            "part create x image=a memory=2M,1M@far cores=1",
            "part: `far` is no address such as `0x80000000`",
        ),
        (
            "part create x image=a memory=2M@0x80000000 cores=1",
            "part: memory=: the first region is always at 0x40000000",
        ),
        (
            "part create x image=a memory=1M,1M,1M,1M,1M cores=1",
            "part: memory=: 5 regions; 1 to 4 are possible",
        ),
        ("part create x image=a memory=2M cores=1 x0=a", "part: x0=`a`: a number, such as"),
        (
            "part create x kernel=a memory=2M cores=1 x0=1",
            "part: x0=: that is where the device tree is, which it is given",
        ),
        ("part create x image", "part: `image` is no KEY=VALUE"),
        (
            "part create x image=a memory=2M cores=1 shar=1ms/10ms",
            "part: there is no key `shar`; there are image, kernel, initrd, cmdline, memory, cores, vcpus, kept_vcpus, share,",
        ),
        (
            "part create x image=a memory=2M cores=1 ports_limit=1",
            "part: `ports_limit`: there is no resource `ports`; there are core_time, ipa_space, memory,",
        ),
        (
            "part wait hello flying",
            "part: `flying` is no state to wait for; those are created, active, paused, ended\n",
        ),
        ("part wait hello ended soon", "part: `soon` is not a time such as `500us`, `10ms`"),
        (
            "part limit hello foo",
            "part: there is no resource `foo`; there are core_time, ipa_space,",
        ),
        ("part end hello at once", "part: end: `once` is one word too many\n"),
        ("top x", "top: `x` is no option; -n and -d are\n"),
        ("trace hello 0 1", "trace: `1` is one word too many: one partition, and perhaps a vCPU"),
        ("chan hello 1", "chan: `1` is one word too many: one partition, or none"),
        ("top -n 0", "top: `0` is no number of times"),
        ("top -x 1", "top: `-x` is no option; -n and -d are"),
        ("acct a b", "acct: `b` is one word too many: one partition"),
        ("exit 256", "exit: `256` is no result from 0 to 255"),
        ("set 1", "set: a name and a value"),
    ] {
        let (result, text) = say(&mut fake, line);
        assert_eq!(result, 2, "{line}: {text}");
        assert!(text.starts_with(start), "{line}: {text}");
    }
    assert_eq!(fake.partitions.len(), 2, "nothing was made");
}

#[test]
fn wait_ends_with_the_state_or_with_patience() {
    let mut fake = Fake::new();
    fake.during = vec![|_| {}, |fake| fake.partitions[1].phase = Phase::Active];
    assert_eq!(say(&mut fake, "part wait hello active"), (0, String::new()));
    assert_eq!(fake.pauses, 2);
    let text = "part: hello is active and not ended after 50ms\n";
    assert_eq!(say(&mut fake, "part wait hello ended 50ms"), (1, text.into()));
}

#[test]
fn accounts_of_all_and_of_the_hand_out_are_shown() {
    let mut fake = Fake::new();
    let expected = "\
partition  id  core time  memory  management  IPA space  ports  devices
scos        1       100%      2M          0K         0K      0        0
hello       2       100%      2M          0K         0K      0        0
";
    assert_eq!(say(&mut fake, "acct"), (0, expected.into()));
    fake.handout.lines[usize::from(Resource::Memory.number())] =
        Line { limit: Some(65_536), used: 1, high: 2 };
    let (_, text) = say(&mut fake, "acct -h");
    assert!(text.contains("\nmemory              256M    4K       8K\n"), "{text}");
}

#[test]
fn ports_are_shown_with_their_other_ends() {
    let mut fake = Fake::new();
    let end = End { place: 0, entry: 7 };
    let receive = |bound, is_masked| What::Receive {
        is_connected: true,
        is_masked,
        is_pending: is_masked,
        bound,
        is_grouped: false,
    };
    fake.things = [
        receive(Some((64, 0)), false),
        What::Channel(Stand::Connected(end)),
        What::Area(0),
        What::Send(Stand::Waits(9)),
        What::Area(0),
        What::Request(Some(0)),
        receive(None, true),
    ]
    .into_iter()
    .zip(1..)
    .map(|(what, entry)| Thing { entry, what })
    .collect();
    let channels = "\
partition  entry  what           state           other end
scos           2  message port   connected       scos:7
scos           6  request        to be answered  scos
scos              2 areas of 4K
";
    assert_eq!(say(&mut fake, "chan"), (0, channels.into()));
    let ports = "\
partition  entry  what          state                 other end
scos           1  receive port  in use                interrupt 64 of vCPU 0
scos           4  send port     asks                  place 9
scos           7  receive port  in use, masked, kept
";
    assert_eq!(say(&mut fake, "ev scos"), (0, ports.into()));
    let text = "chan: ports of partition 2: wrong state\n";
    assert_eq!(say(&mut fake, "chan hello"), (1, text.into()), "it does not live");
}

#[test]
fn a_console_is_read_and_talked_to() {
    let mut fake = Fake::new();
    assert_eq!(say(&mut fake, "part log hello"), (0, "console of 2, from 0\n".into()));
    let text = "the keyboard is hello's now; Ctrl-A 1 brings it back\n";
    assert_eq!(say(&mut fake, "part console hello"), (0, text.into()));
    assert_eq!(fake.focus, Some(reference(2)));
    fake.refuses = Some(Refusal::new("console", Some(reference(2)), Status::NotFound));
    let none = "part: hello has no console now\n";
    for line in ["part log hello", "part console hello"] {
        assert_eq!(say(&mut fake, line), (1, none.into()));
    }
}

#[test]
fn the_last_exits_are_shown_with_their_reasons() {
    let mut fake = Fake::new();
    let (result, text) = say(&mut fake, "trace hello");
    assert_eq!(result, 0);
    let rows = ["    ago          pc  why", "2500 us  0x40080000  WFI"];
    let expected = rows.join("\n") + "\n   61 s  0x40080000  read at 0x9000018\n";
    assert_eq!(text, expected);
    let none = "trace: hello has no vCPU 1; its last one is 0\n";
    assert_eq!(say(&mut fake, "trace hello 1"), (1, none.into()));
    assert_eq!(say(&mut fake, "trace hello x").0, 2);
}

#[test]
fn top_shows_so_often_and_marks_what_changed() {
    let mut fake = Fake::new();
    fake.during = vec![|fake| {
        fake.accounts.get_mut(&2).unwrap().lines[usize::from(Resource::Memory.number())].used = 256;
        fake.partitions[0].phase = Phase::Paused;
    }];
    let (result, text) = say(&mut fake, "top -n 2 -d 5ms");
    assert_eq!((result, fake.now), (0, Duration::from_millis(5)));
    let screens: Vec<&str> = text.split("\x1b[H\x1b[2J").collect();
    assert_eq!(screens.len(), 3);
    assert!(!screens[1].contains('*') && screens[2].contains("paused*"), "{text}");
    assert!(screens[2].contains(" 1M*"), "{text}");
}

#[test]
fn lists_go_on_as_their_results_say() {
    let mut fake = Fake::new();
    assert_eq!(say(&mut fake, "fails || echo or; echo $?").1, "or\n0\n");
    assert_eq!(say(&mut fake, "fails && echo and").0, 3);
    assert_eq!(say(&mut fake, "true && echo and > file; echo more >> file").1, "");
    assert_eq!(fake.files["file"], "and\nmore\n");
    let text = "absent: entity not found; `help` lists the shell's own commands\n";
    assert_eq!(say(&mut fake, "absent"), (127, text.into()));
    assert_eq!(say(&mut fake, "a | part list").0, 2);
    assert_eq!(say(&mut fake, "a 'b").1, "the line ends within '\n");
}

#[test]
fn variables_are_for_lines_and_programs() {
    let mut fake = Fake::new();
    assert_eq!(say(&mut fake, "set who hello; echo $who").1, "hello\n", "also on the same line");
    assert_eq!(say(&mut fake, "$none").0, 2);
    say(&mut fake, "program $who '$who'");
    assert_eq!(fake.programs[0][0].words, ["program", "hello", "$who"]);
}

#[test]
fn a_script_ends_at_its_first_failure_and_says_where() {
    let mut fake = Fake::new();
    let mut complaints = Vec::new();
    let mut shell = Shell::new();
    let script = "# start\necho one\npart start ghost || true\npart start ghost\necho never\n";
    shell.script(script, &mut fake, &mut |text| complaints.push(text.to_owned()));
    assert_eq!((shell.result(), fake.written.as_str()), (1, "one\n"));
    assert_eq!(complaints.len(), 2);
    assert!(complaints[1].starts_with("line 4: part: there is no partition `ghost`"));
}

#[test]
fn exit_ends_the_shell_with_its_result() {
    let mut fake = Fake::new();
    let mut shell = Shell::new();
    shell.run("exit 7; echo never", &mut fake, &mut |_| {});
    assert_eq!((shell.is_over(), shell.result(), fake.written.as_str()), (true, 7, ""));
}
