"""Which words explain a pair: instructions that an edit model knows, asked one by one."""
