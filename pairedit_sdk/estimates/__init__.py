"""What a training or an edit will need, told from a base's configuration alone."""
