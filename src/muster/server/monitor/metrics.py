"""What Prometheus is told of this server and its queue."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LAGS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """One set for each app, so that several may live in one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"muster_{name}", meaning, labels, registry=registry)

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"muster_{name}", meaning, labels, registry=registry)

        self.jobs = gauge("jobs", "Jobs by state", "state")
        self.machines = gauge("machines", "Machines by state", "state")
        self.workers = gauge("workers", "Workers by state", "state")
        self.paused = gauge("queue_paused", "1 while no jobs are handed out")
        self.viewers = gauge("monitor_viewers", "Streams that are open")
        self.subscriptions = gauge("monitor_subscriptions", "Distinct things that are watched")
        self.queued = gauge("monitor_queued_frames", "Frames that wait for slow viewers")
        self.level = gauge("monitor_level", "0 live, 1 slower, 2 totals, 3 polling")
        self.away = gauge("monitor_redis_away", "1 while the state cannot be read")
        self.lag = Histogram(
            "muster_monitor_lag_seconds",
            "How late a step was done",
            buckets=LAGS,
            registry=registry,
        )
        self.entries = counter("monitor_entries", "Entries of the queue's streams that were read")
        self.unknown = gauge("monitor_unknown_entries", "Entries that this server does not know")
        self.loads = counter("monitor_loads", "How often the whole state was read")
        self.frames = counter("monitor_frames", "Frames that were encoded", "type")
        self.sent_bytes = counter("monitor_sent_bytes", "Bytes that were sent to viewers")
        self.resyncs = counter("monitor_resyncs", "Slow viewers that got a new snapshot")
        self.evictions = counter("monitor_evictions", "Viewers cut off that took nothing")
        self.refusals = counter("monitor_refusals", "Streams that were refused", "reason")
        self.resumes = counter("monitor_resumes", "Streams that were resumed", "outcome")
