"""Use of the machine by containers, as the kernel counts it: cgroups and /proc."""
