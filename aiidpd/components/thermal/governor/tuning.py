"""Tuning of the governor: constants that are not configurable (pure). Seconds and degrees Celsius.

Down: when the forecast for the end of the HORIZON, less CONFIDENCE standard errors (within the HYSTERESIS
NEAR_CONFIDENCE), lies above the target; or when the target is reached and the temperature does not fall
back under it. As many watts less as would bring a body of HEAT_CAPACITY back to the target in the horizon,
at most MOST_STEPS; then a wait of DWELL (of URGENT_DWELL where the target is reached or the driver throttles
already).

Up: one step after ``gpu.governor.recovery``, if no reading of the last WINDOW came closer than HYSTERESIS to
the target. A GPU that had to go down again within RELAPSE of going up waits twice as long the next time, at
most RECOVERY_CAP; one that is IDLE degrees below its target waits ``recovery`` again.
"""

from __future__ import annotations

HORIZON = 20.0
WINDOW = 12.0
CONFIDENCE = 4.0
NEAR_CONFIDENCE = 2.0
HEAT_CAPACITY = 1000.0  # joules per kelvin
MOST_STEPS = 20
DWELL = 1.0
URGENT_DWELL = 0.5
HYSTERESIS = 3.0
RECOVERY_CAP = 3600.0
RELAPSE = 600.0
IDLE = 25.0

RETRY = 10.0  # after a setting that was refused
SETTLE = 3.0  # one that still reads otherwise so long after it was set was lost, or is somebody else's
TOLERANCE_WATTS = 1.0  # within which two settings are equal

POWER_STEP_RATIO = 0.02  # of the card's default limit
CLOCK_STEP_RATIO = 0.05  # of the card's highest clock
