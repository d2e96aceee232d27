"""Bases of LoRAs that are trained together, for a base that looks at pictures (LoRWeB)."""
