//! Memory and processor time, read from /proc. Linux only.

use std::fs;

/// /proc counts processor time in hundredths of a second on every Linux that Rust runs on.
const TICK_MICROS: u64 = 10_000;

/// `pid` and its children, one level deep: enough for a cluster of Node processes.
fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    std::iter::once(pid).chain(children).collect()
}

/// Resident memory now, in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    family(pid).into_iter().map(|pid| status_kib(pid, "VmRSS:")).sum()
}

/// The most that was ever resident, in KiB.
pub fn peak_kib(pid: u32) -> u64 {
    family(pid).into_iter().map(|pid| status_kib(pid, "VmHWM:")).sum()
}

fn status_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value
        .and_then(|value| value.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// Processor time of a process and its children, user and system.
pub fn cpu_micros(pid: u32) -> u64 {
    let ticks = |pid: u32| -> u64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name stands in parentheses and may hold blanks; utime and stime are the 12th and
        // 13th field after it.
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let fields = after_name.split_whitespace().skip(11).take(2);
        fields.filter_map(|field| field.parse::<u64>().ok()).sum()
    };
    family(pid).into_iter().map(ticks).sum::<u64>() * TICK_MICROS
}

/// Processor time that the whole machine was not idle.
pub fn machine_cpu_micros() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let all = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = all.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; the guest fields are in user already.
    let busy = ticks.iter().take(8).enumerate().filter(|(field, _)| *field != 3 && *field != 4);
    busy.map(|(_, ticks)| ticks).sum::<u64>() * TICK_MICROS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_has_used_time() {
        let pid = std::process::id();
        assert!(resident_kib(pid) > 500);
        assert!(peak_kib(pid) >= resident_kib(pid) / 2);
        assert!(machine_cpu_micros() > 0);
        let _ = cpu_micros(pid);
    }
}
