"""Component engines: polls each inference engine's own page."""
