"""What a training or an edit will need, told from a model's configuration alone."""
