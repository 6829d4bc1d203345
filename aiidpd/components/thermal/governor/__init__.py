"""Governor: takes power from a hot GPU before its driver throttles it, and always gives it back."""
