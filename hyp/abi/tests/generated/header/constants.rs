//! What the calls' words are made of: statuses, and the numbers of all kinds, states, causes and choices.

use shikiri_abi::{
    AreaClass, Call, EndCause, Hold, MESSAGE_WORDS, OBJECT_NAME_ALIGN, OBJECT_NAME_BYTES,
    ObjectCall, ObjectKind, PAGE_BYTES, PartitionRef, PartitionState, PolicyCall, PortStand,
    QUEUE_DEPTH, Resource, SharedCall, Sharing, SignalKind, Status, TalkCall, ThingKind, Units,
    VcpuIndex, WINDOWS, Wish, channel,
};

use super::define;
use crate::{line, snake, status_name};

/// Writes all of them.
pub(super) fn write(text: &mut String) {
    statuses(text);
    resources(text);
    events(text);
    signals(text);
    areas(text);
    objects(text);
    partitions(text);
}

fn statuses(text: &mut String) {
    line(text, "\n/* What x0 says. */");
    line(text, "enum shikiri_status {");
    for status in Status::ALL {
        let name = format!("SHIKIRI_{} = {},", status_name(*status), status.code());
        line(text, &format!("    {name:<32} /* {status} */"));
    }
    line(text, "};");
}

fn resources(text: &mut String) {
    line(text, "\n/* Lines of an account. */");
    line(text, "enum shikiri_resource {");
    for resource in Resource::ALL {
        let name = format!("{resource}").to_uppercase().replace(' ', "_");
        line(text, &format!("    SHIKIRI_RESOURCE_{name} = {},", resource.number()));
    }
    line(text, "};");
    define(text, "UNSET", "UINT64_MAX", "a limit that there is not");
    line(text, "\n/* What REQUEST asks for, beside those: core time is the resource's number. */");
    for (name, wish) in [
        ("PEER", Wish::Peer(shikiri_abi::PartitionSlot(0))),
        ("VCPUS", Wish::Vcpus(1)),
        ("DEVICE", Wish::Device(0)),
    ] {
        let [what, _] = wish.encode();
        define(text, &format!("WISH_{name}"), &what.to_string(), "");
    }
}

/// The value among 0 to 255 of an argument that is decoded as wanted.
fn number_of(is_wanted: impl Fn(u64) -> bool) -> String {
    let found = (0..256).find(|value| is_wanted(*value));
    assert!(found.is_some(), "no value of the argument means this");
    found.unwrap_or_default().to_string()
}

fn events(text: &mut String) {
    line(text, "\n/* EVENT_BIND: whose the interrupt is. */");
    for (name, wanted) in [("ALONE", Sharing::Alone), ("GROUPED", Sharing::Grouped)] {
        let is_wanted = |value| {
            let bind = Call::decode(0x13, [1, 40, 0, value, 0, 0]);
            matches!(bind, Ok(Call::Talk(TalkCall::Bind { sharing, vcpu: VcpuIndex(0), .. })) if sharing == wanted)
        };
        define(text, &format!("SHARING_{name}"), &number_of(is_wanted), "");
    }
}

fn signals(text: &mut String) {
    line(text, "\n/* What a control signal asks for, in SIGNAL_TAKE's request. */");
    for kind in SignalKind::ALL {
        let name = format!("{kind}");
        let words = name.split(' ').skip(1).collect::<Vec<_>>().join("_").to_uppercase();
        define(text, &format!("ASKS_{words}"), &kind.code().to_string(), "");
    }
    define(text, "SIGNAL_KIND(request)", "((request) >> 56)", "");
    define(text, "SIGNAL_HANDLE(request)", "((request) & UINT64_C(0xffffffffffffff))", "");
}

fn areas(text: &mut String) {
    line(
        text,
        "\n/* Message areas: classes, the most slots of a window, and where the window region starts. */",
    );
    for class in AreaClass::ALL {
        let name = format!("CLASS_{class:?}").to_uppercase();
        let pages = class.pages().0;
        let pages = if pages == 1 { "1 page".to_owned() } else { format!("{pages} pages") };
        define(text, &name, &class.code().to_string(), &pages);
    }
    define(text, "PAGE_BYTES", &PAGE_BYTES.to_string(), "");
    define(text, "WINDOW_SLOTS", &channel::MAX_WINDOW.to_string(), "");
    let windows = format!("UINT64_C({:#x})", WINDOWS.0);
    define(text, "WINDOWS", &windows, "an intermediate physical address");
    line(text, "\n/* SHARED_ACCEPT: what the asker may do. */");
    for (name, wanted) in [("READ", false), ("WRITE", true)] {
        let is_wanted = |value| {
            let accept = Call::decode(0x35, [1, 2, value, 0, 0, 0]);
            matches!(accept, Ok(Call::Shared(SharedCall::Accept { is_writable, .. })) if is_writable == wanted)
        };
        define(text, &format!("ACCESS_{name}"), &number_of(is_wanted), "");
    }
}

fn objects(text: &mut String) {
    line(
        text,
        "\n/* Named objects: kinds, what becomes of a semaphore's unit that was taken, and names. */",
    );
    let semaphore = |units| ObjectKind::Semaphore { initial: 0, maximum: 1, units };
    let [event, ..] = ObjectKind::Event.encode();
    let [kind, _, _, held] = semaphore(Units::Held).encode();
    let [.., spent] = semaphore(Units::Spent).encode();
    let [queue, ..] = ObjectKind::Queue { depth: 1 }.encode();
    for (name, value, comment) in [
        ("OBJECT_EVENT", event.to_string(), ""),
        ("OBJECT_SEMAPHORE", kind.to_string(), ""),
        ("OBJECT_QUEUE", queue.to_string(), ""),
        ("UNITS_HELD", held.to_string(), "until its holder posts it back, closes, or ends"),
        ("UNITS_SPENT", spent.to_string(), "for good"),
        ("OBJECT_NAME_BYTES", OBJECT_NAME_BYTES.to_string(), "at most"),
        (
            "OBJECT_NAME_ALIGN",
            OBJECT_NAME_ALIGN.to_string(),
            "what a name's address is a multiple of",
        ),
        ("QUEUE_DEPTH", QUEUE_DEPTH.to_string(), "the most messages that wait"),
        ("MESSAGE_WORDS", MESSAGE_WORDS.to_string(), "of a queue's message"),
    ] {
        define(text, name, &value, comment);
    }
}

fn partitions(text: &mut String) {
    line(text, "\n/* PARTITION_LIST: where a partition stands, bits 0 to 7 of value[1]. */");
    line(text, "enum shikiri_state {");
    for state in PartitionState::ALL {
        let name = format!("SHIKIRI_STATE_{} = {},", snake(&format!("{state:?}")), state.code());
        let comment =
            if state.to_string().contains(' ') { format!(" /* {state} */") } else { String::new() };
        line(text, &format!("    {name}{comment}"));
    }
    line(text, "};");
    line(
        text,
        "\n/* Why it ended: bits 0 to 7 of NOTICE_TAKE's value[1], bits 8 to 15 of PARTITION_LIST's; 0: it did not. */",
    );
    line(text, "enum shikiri_cause {");
    for cause in (0..=u8::MAX).filter_map(|number| EndCause::decode(number, 0)) {
        let name = snake(format!("{cause:?}").trim_end_matches("(0)"));
        let name = format!("SHIKIRI_CAUSE_{name} = {},", cause.encode().0);
        let comment = format!("{cause}").replace("code 0", "a code");
        line(text, &format!("    {name:<37} /* {comment} */"));
    }
    line(text, "};");
    line(text, "\n/* PORT_READ: what an entry is, bits 16 to 23 of value[0]. */");
    line(text, "enum shikiri_thing {");
    for kind in ThingKind::ALL {
        let name = format!("SHIKIRI_THING_{} = {},", snake(&format!("{kind:?}")), kind.code());
        line(text, &format!("    {name:<37} /* {kind} */"));
    }
    line(text, "};");
    line(
        text,
        "\n/* And how it stands: bits 24 to 31, but of a receive port, whose bits are in the call's comment. */",
    );
    line(text, "enum shikiri_stand {");
    for stand in PortStand::ALL {
        let name = format!("SHIKIRI_STAND_{} = {},", snake(&format!("{stand:?}")), stand.code());
        line(text, &format!("    {name:<37} /* {stand} */"));
    }
    line(text, "};");
    line(text, "\n/* PARTITION_START: whether it is held when it is built. */");
    let start = |value| PolicyCall::decode(0x104, [1, value, 0, 0, 0, 0]);
    let at_once = |value| matches!(start(value), Ok(PolicyCall::Start(_, Hold::No)));
    let held = |value| matches!(start(value), Ok(PolicyCall::Start(_, Hold::WhenBuilt)));
    let goes_on = |value| matches!(start(value), Ok(PolicyCall::GoOn(PartitionRef { .. })));
    define(text, "HOLD_NO", &number_of(at_once), "");
    define(text, "HOLD_WHEN_BUILT", &number_of(held), "");
    define(text, "HOLD_OVER", &number_of(goes_on), "no life begins, one that is held runs");
}

#[test]
fn the_kinds_of_objects_are_decoded_as_they_are_written() {
    for kind in [ObjectKind::Event, ObjectKind::Queue { depth: 7 }] {
        let [number, first, second, third] = kind.encode();
        let open = Call::decode(0x38, [64, 1, number, first, second, third]);
        assert!(matches!(open, Ok(Call::Object(ObjectCall::Open { kind: it, .. })) if it == kind));
    }
}
