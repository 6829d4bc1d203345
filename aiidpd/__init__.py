"""On-call engineer of a machine that serves its own language models."""

__version__ = "0.1.0"
