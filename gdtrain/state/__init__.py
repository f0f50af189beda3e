"""What a fit consists of: variables, states, and its fingerprint."""
