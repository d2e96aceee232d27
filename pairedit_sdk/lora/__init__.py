"""LoRAs: attaching them reversibly, and the files they live in."""
