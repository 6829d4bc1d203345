"""Load on a server: workloads, users and arrivals, ramps, figures of what came of it, reports."""
