"""The figures of the pages about the server and its web page, from their result files."""

from typing import Any

from .results import result

ANSWERS = {"GET": "status", "POST": "creation", "DELETE": "deletion", "content": "download"}
OF_STORE = ("lost", "unknown", "without_client", "failed", "not_final", "ended_twice", "left_a_final_state")
OF_STORE += ("client_saw_another_end", "broken_results")


def serving() -> list[str]:
    return [*_load(), *_clients()]


def web_page() -> list[str]:
    found = result("page")
    median = found["median"]
    return [
        f"On {found['machine']['cores']} cores, the form can be used {median['usable'] / 1000:.1f} s after",
        f"{median['requests']} requests for {median['bytes'] / 1e6:.1f} MB, all to this server",
        f"the median of {len(found['loads'])} loads",
    ]


def _load() -> list[str]:
    found = result("serve_load")
    settings, store, kills, same = (found[name] for name in ("settings", "store", "kills", "bytes"))
    assert not any(store[name] for name in OF_STORE)
    assert store["accepted"] == settings["jobs"] + found["warm_up_jobs"] == store["completed"] + store["deleted"]
    assert sum(kills.values()) == settings["kills"]
    assert same["same_bytes"] == same["compared"]
    assert same["continued_same_bytes"] == same["continued"]
    assert not found["clients"].get("server_errors", 0) + found["clients"]["refused"]
    lost = sum(count for name, count in found["clients"].items() if name.startswith("disconnected_"))
    restarts = sorted(found["restart_seconds"])
    return [
        f"{settings['clients']} clients asked for {settings['jobs']} videos of {settings['steps']} steps",
        f"in {found['seconds']:.0f} s, {sum(found['cancelled_when'].values())} of them cancelled",
        f"{lost} requests were left by their clients",
        f"{settings['kills']} times something was ended with SIGKILL: {kills['worker']} times a worker, "
        f"{kills['server']} times the server, {kills.get('all', 0)} times all processes at once",
        f"{store['accepted']} jobs were accepted, with {found['warm_up_jobs']} before the load: {store['completed']} "
        f"completed, {store['deleted']} deleted, none failed",
        f"{store['taken_again']} jobs were taken by a second worker",
        f"{same['compared']} videos, among them all {same['continued']} that were continued",
        f"{found['clients']['queue_full']} times a full queue refused a request",
        f"{store['leftovers_after_cleaning']} folders were left by servers that were killed while they accepted",
        f"after {restarts[0]:.0f} to {restarts[-1]:.0f} s",
        *(_row(text, found["answers"][name]) for name, text in ANSWERS.items()),
        *(_memory(name, found["megabytes"]) for name in ("server", "worker")),
    ]


def _row(name: str, facts: dict[str, Any]) -> str:
    return f"| {name} | {facts['count']} | {facts['p50_ms']:.0f} | {facts['p99_ms']:.0f} | {facts['max_ms']:.0f} |"


def _memory(name: str, facts: dict[str, Any]) -> str:
    start, end = (", ".join(f"{size:.0f}" for size in facts[when][name]) for when in ("start", "end"))
    return f"| {name} | {start} | {end} | {facts['peak'][name]:.0f} |"


def _clients() -> list[str]:
    found = result("serve_clients")["clients"]
    for name in ("openai", "curl", "litellm"):
        assert set(found[name]["steps"].values()) == {"ok"}
    tool = found["schemathesis"]
    assert not tool["failures"]
    assert tool["exit_code"] == 0
    assert found["aiperf"]["exit_code"] == 0
    return [
        f"The openai client {found['openai']['version']}, LiteLLM {found['litellm']['version']} and curl "
        f"{found['curl']['version']}",
        f"Schemathesis {tool['version']} derived {tool['cases']} requests",
        f"aiperf {found['aiperf']['version']}",
    ]
