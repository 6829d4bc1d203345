"""GPUs: readings, temperatures, energy, alerts, and the governor that cools them."""
