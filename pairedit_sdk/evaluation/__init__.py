"""How faithful an edit is: the formulae in ``metrics``."""
