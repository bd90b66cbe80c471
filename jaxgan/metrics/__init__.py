"""Sample quality as pure functions of arrays."""
