"""PairEdit: its settings, objectives, trainer, calibration, checkpoints and run folder."""
