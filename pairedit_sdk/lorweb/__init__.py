"""LoRWeB: a basis of LoRAs that is trained end to end on analogies."""
